/** Label matchers that select some series of a family, and none of its others. */
import { labelNames, labelOf } from "./groups.js"
import type { Series } from "./model.js"
import type { Labels } from "./parse.js"

/** A label, and the values that it may have. */
export interface Matcher {
  readonly name: string
  readonly values: ReadonlyArray<string>
}

// A longer list of values is not the filter that the user has typed.
const mostValues = 10
const mostNames = 100

/** Matchers of exactly these labels: a label that other series have, and this one has not, is empty. */
export const matchersOfLabels = (labels: Labels, all: ReadonlyArray<Series>): ReadonlyArray<Matcher> => {
  const own = new Set(labels.map(([name]) => name))
  const missing = labelNames(all).filter((name) => !own.has(name))
  return [
    ...labels.map(([name, value]) => ({ name, values: [value] })),
    ...missing.slice(0, mostNames).map((name) => ({ name, values: [""] }))
  ]
}

/** What the selected series have in common. */
export interface Common {
  /** Labels that all of them have. */
  readonly fixed: Labels
  /** The words that the user has typed, in lower case. */
  readonly words: ReadonlyArray<string>
}

/**
 * Matchers that select the `chosen` ones of `all`. `undefined` if no lists of values do: matchers of different labels
 * select each combination of their values.
 */
export const matchersOf = (
  chosen: ReadonlyArray<Series>,
  all: ReadonlyArray<Series>,
  { fixed, words }: Common
): ReadonlyArray<Matcher> | undefined => {
  const own = new Set(fixed.map(([name]) => name))
  const candidates = labelNames(all)
    .filter((name) => !own.has(name))
    .slice(0, mostNames)
    .flatMap((name) => {
      const values = valuesOf(name, chosen)
      return values === undefined ? [] : [{ name, values }]
    })
  const meantBy = words.map((word) => candidates.filter((matcher) => isMeant(matcher, word)))
  // Other instances may have series that do not match, even if this one has none.
  const typed = new Set(meantBy.flatMap((matchers) => (matchers.length === 1 ? matchers : [])))
  const given = [...fixed.map(([name, value]) => ({ name, values: [value] })), ...typed]
  const isChosen = new Set(chosen)
  const wrong = all.filter((series) => !isChosen.has(series) && matches(series, given))
  // Of several labels that would do, the one that the user means.
  const meant = [...new Set(meantBy.flat())]
  const needed = fewest(wrong, meant) ?? fewest(wrong, candidates)
  return needed === undefined ? undefined : [...given, ...needed]
}

const valuesOf = (name: string, series: ReadonlyArray<Series>): ReadonlyArray<string> | undefined => {
  const values = new Set<string>()
  for (const one of series) {
    values.add(labelOf(one, name))
    if (values.size > mostValues) return undefined
  }
  return [...values]
}

// A word that is in the name of the label is not about its values.
const isMeant = ({ name, values }: Matcher, word: string): boolean => {
  const start = `${name.toLowerCase()}="`
  return !start.includes(word) && values.every((value) => `${start}${value.toLowerCase()}"`.includes(word))
}

const matches = (series: Series, matchers: ReadonlyArray<Matcher>): boolean =>
  matchers.every(({ name, values }) => values.includes(labelOf(series, name)))

// Each step takes the matcher that leaves the fewest wrong ones; the one with fewer values, if they are equal.
const fewest = (
  wrong: ReadonlyArray<Series>,
  candidates: ReadonlyArray<Matcher>
): ReadonlyArray<Matcher> | undefined => {
  const used: Array<Matcher> = []
  let left = wrong
  while (left.length > 0) {
    let best: { readonly matcher: Matcher; readonly left: ReadonlyArray<Series> } | undefined
    for (const matcher of candidates) {
      const rest = left.filter((series) => matches(series, [matcher]))
      const isFewer = rest.length < (best?.left ?? left).length
      const isShorter = rest.length === best?.left.length && matcher.values.length < best.matcher.values.length
      if (isFewer || isShorter) best = { matcher, left: rest }
    }
    if (best === undefined) return undefined
    used.push(best.matcher)
    left = best.left
  }
  return used
}
