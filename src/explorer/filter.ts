/** Which families and series are looked for. */
import type { Family, Kind, Series, Store } from "./store.js"

/** What is looked for, and in which order. */
export interface Wanted {
  readonly query: string
  /** All, if undefined. */
  readonly kind: Kind | undefined
  readonly changedOnly: boolean
  readonly sort: "name" | "series"
}

/** A family that is looked for, and those of its series that are. */
export interface Found {
  readonly family: Family
  readonly series: ReadonlyArray<Series>
}

/** So many characters of a query are looked at: a link can have hundreds of thousands of words. */
export const longestQuery = 1_000

/** What is looked for, of all that there is. Each word must be found: in a name or a help, or in the labels of a series. */
export const found = (store: Store, { changedOnly, kind, query, sort }: Wanted): ReadonlyArray<Found> => {
  const words = [...new Set(query.slice(0, longestQuery).toLowerCase().split(/\s+/).filter(Boolean))]
  const all: Array<Found> = []
  for (const family of store.families.values()) {
    if (kind !== undefined && family.kind !== kind) continue
    if (changedOnly && !family.hasChanged) continue
    const rest = words.filter((word) => !family.text.includes(word))
    const series = seriesOf(family, rest, changedOnly)
    if (series.length > 0 || (rest.length === 0 && !changedOnly)) all.push({ family, series })
  }
  const byName = (a: Found, b: Found): number => (a.family.name < b.family.name ? -1 : 1)
  return all.sort(sort === "name" ? byName : (a, b) => b.family.lines - a.family.lines || byName(a, b))
}

const seriesOf = ({ series }: Family, words: ReadonlyArray<string>, changedOnly: boolean): ReadonlyArray<Series> => {
  const all = [...series.values()]
  if (words.length === 0 && !changedOnly) return all
  return all.filter(
    ({ hasChanged, text }) => (!changedOnly || hasChanged) && words.every((word) => text.includes(word))
  )
}
