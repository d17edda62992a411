/** Selects and sorts families and series. */
import { lineCount } from "./figures.js"
import type { Family, Kind, Series } from "./model.js"
import type { Store } from "./store.js"

/** The selection and the order. */
export interface Wanted {
  readonly query: string
  /** Default: all. */
  readonly kind: Kind | undefined
  readonly changedOnly: boolean
  readonly sort: "name" | "series"
}

/** A selected family, and its selected series. */
export interface Found {
  readonly family: Family
  readonly series: ReadonlyArray<Series>
  /** The words that its labels were searched for, in lower case. */
  readonly words: ReadonlyArray<string>
  /** How many series Prometheus would count for these. */
  readonly lines: number
  /** The length of the last minute in seconds, which is shorter at first; 0 if it has not begun. */
  readonly window: number
}

/** The number of characters of a query that count: a link can have hundreds of thousands of words. */
export const longestQuery = 1_000

/** The selected families. Each word must occur in a name, in a help text, or in the labels of a series. */
export const found = (store: Store, { changedOnly, kind, query, sort }: Wanted): ReadonlyArray<Found> => {
  const words = [...new Set(query.slice(0, longestQuery).toLowerCase().split(/\s+/).filter(Boolean))]
  const { window } = store
  const all: Array<Found> = []
  for (const family of store.families.values()) {
    if (kind !== undefined && family.kind !== kind) continue
    if (changedOnly && !family.hasChanged) continue
    const selected = selectedOf(family, words, changedOnly)
    if (selected === undefined) continue
    const lines = selected.series.length === family.series.size ? family.lines : lineCount(selected.series)
    all.push({ family, ...selected, lines, window })
  }
  return all.sort(sort === "name" ? byName : (a, b) => b.lines - a.lines || byName(a, b))
}

const byName = ({ family: a }: Found, { family: b }: Found): number => a.rank - b.rank || (a.name < b.name ? -1 : 1)

const selectedOf = (
  family: Family,
  words: ReadonlyArray<string>,
  changedOnly: boolean
): Pick<Found, "series" | "words"> | undefined => {
  const ofLabels = words.filter((word) => !family.text.includes(word))
  let series = [...family.series.values()]
  if (ofLabels.length > 0 || changedOnly) {
    series = series.filter(
      ({ hasChanged, text }) => (!changedOnly || hasChanged) && ofLabels.every((word) => text.includes(word))
    )
    if (series.length === 0) return undefined
  }
  // A help such as "499: the client has closed the connection" does not hide which series are meant by 499.
  for (const word of words) {
    const at = family.text.indexOf(word)
    if (at === -1 || at + word.length <= family.name.length) continue
    const meant = series.filter(({ text }) => text.includes(word))
    if (meant.length === 0) continue
    series = meant
    ofLabels.push(word)
  }
  return { series, words: ofLabels }
}
