/** What has been told of a registry, so that each thing is logged once and not with every scrape. */
import type { Failure, Rendered } from "./render.js"

interface Told {
  /** The metrics that fail now. */
  readonly failing: Set<string>
  /** The families that clash. */
  readonly clashes: Set<string>
  /** What is left out. */
  readonly leftOut: Set<string>
}

const told = new WeakMap<object, Told>()

const toldOf = (registry: object): Told => {
  const known = told.get(registry) ?? { failing: new Set(), clashes: new Set(), leftOut: new Set() }
  told.set(registry, known)
  return known
}

// For each reading that has failed, where that was counted.
const counted = new WeakMap<object, WeakSet<object>>()

/** How many failures are counted: a reading that has failed is one of them, whichever renders of the registry it served. */
export const newlyFailed = (registry: object, { failures }: Rendered): number =>
  failures.filter(({ reading }) => {
    if (reading === undefined) return true
    const registries = counted.get(reading) ?? new WeakSet()
    if (registries.has(registry)) return false
    counted.set(reading, registries.add(registry))
    return true
  }).length

/** Those of the failures with which a metric begins to fail. One that could be read again can begin anew. */
export const newFailures = (registry: object, { failures, families }: Rendered): ReadonlyArray<Failure> => {
  const { failing } = toldOf(registry)
  for (const { name } of families) failing.delete(name)
  const fresh = failures.filter(({ name }) => !failing.has(name))
  for (const { name } of fresh) failing.add(name)
  return fresh
}

/** Those of the clashes that were not there before, as sentences. */
export const newClashes = (registry: object, { clashes }: Rendered): ReadonlyArray<string> => {
  if (clashes.size === 0) return []
  const known = toldOf(registry).clashes
  const fresh = [...clashes].filter(([name]) => !known.has(name))
  for (const [name] of fresh) known.add(name)
  return fresh.map(
    ([name, other]) =>
      `in OpenMetrics the family of the counter ${name} would clash with the metric ${other}: ` +
      "it is exposed there with type unknown"
  )
}

/** Those of the sentences about what is left out that were not told before. */
export const newlyLeftOut = (registry: object, { leftOut }: Rendered): ReadonlyArray<string> => {
  if (leftOut.length === 0) return []
  const known = toldOf(registry).leftOut
  const fresh = leftOut.filter((sentence) => !known.has(sentence))
  for (const sentence of fresh) known.add(sentence)
  return fresh
}
