/** What has been told of a registry, so that each thing is logged once and not with every scrape. */
import type { Failure } from "./render.js"
import type { Rendered } from "./sharedRender.js"

interface Told {
  /** The metrics that fail now. */
  readonly failing: Set<string>
  /** What was logged once, and is not again. */
  readonly notices: Set<string>
}

const told = new WeakMap<object, Told>()

const toldOf = (registry: object): Told => {
  const known = told.get(registry) ?? { failing: new Set(), notices: new Set() }
  told.set(registry, known)
  return known
}

// For each reading that has failed, where that was counted.
const counted = new WeakMap<object, WeakSet<object>>()

/** How many failures are counted: a reading that has failed is one of them, whichever renders of the registry it served. */
export const newlyFailed = (registry: object, { failures }: Pick<Rendered, "failures">): number =>
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
  if (failing.size > 0) for (const { name } of families) failing.delete(name)
  const fresh = failures.filter(({ name }) => !failing.has(name))
  for (const { name } of fresh) failing.add(name)
  return fresh
}

/** Those of the notices that were not there before. */
export const newNotices = (registry: object, { notices }: Rendered): ReadonlyArray<string> => {
  if (notices.size === 0) return []
  const known = toldOf(registry).notices
  const fresh = [...notices].filter(([key]) => !known.has(key))
  for (const [key] of fresh) known.add(key)
  return fresh.map(([, sentence]) => sentence)
}

/** Whether there is something to report of a render: a metric that fails or does not any more, or a new notice. */
export const hasNews = (registry: object, { failures, notices, stopped }: Rendered): boolean => {
  if (failures.length > 0 || stopped !== undefined) return true
  const { failing, notices: known } = toldOf(registry)
  if (failing.size > 0) return true
  for (const key of notices.keys()) if (!known.has(key)) return true
  return false
}
