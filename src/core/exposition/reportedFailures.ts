/** What was logged for a registry, so that each failure is logged once and not at every scrape. */
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { Failure } from "./render.js"
import type { Rendered } from "./renderRequest.js"

interface Reported {
  readonly failing: Set<string>
  readonly notices: Set<string>
}

const reported = oncePerProcess("reported failures", () => new WeakMap<object, Reported>())

const reportedOf = (registry: object): Reported =>
  getOrInsert(reported, registry, () => ({ failing: new Set(), notices: new Set() }))

// For each failed collection, the registries for which it was counted.
const counted = oncePerProcess("counted failures", () => new WeakMap<object, WeakSet<object>>())

/** A failed collection counts once per registry, however many renders it served. */
export const newlyFailed = (registry: object, failures: ReadonlyArray<Failure>): number =>
  failures.filter(({ reading }) => {
    if (reading === undefined) return true
    const registries = getOrInsert(counted, reading, () => new WeakSet())
    if (registries.has(registry)) return false
    registries.add(registry)
    return true
  }).length

/** The names of the metrics whose last collection for a scrape failed. */
export const failingMetrics = (registry: object): ReadonlyArray<string> => [...(reported.get(registry)?.failing ?? [])]

/**
 * Failures of metrics that were not failing before. A metric that has been read in between counts as new. `isReported`:
 * a metric does not begin to fail with another failure. `isCovered`: the render had the metric if it is registered, so that
 * a metric that it neither read nor failed to read was removed.
 */
export const newFailures = (
  registry: object,
  { failures, families }: Pick<Rendered, "failures" | "families">,
  {
    isCovered,
    isReported
  }: { readonly isReported: (failure: Failure) => boolean; readonly isCovered: (name: string) => boolean }
): ReadonlyArray<Failure> => {
  const { failing } = reportedOf(registry)
  if (failing.size > 0) {
    const failed = new Set(failures.map(({ name }) => name))
    const read = new Set(families.map(({ name }) => name))
    for (const name of failing) if (!failed.has(name) && (isCovered(name) || read.has(name))) failing.delete(name)
  }
  const fresh = failures.filter((failure) => isReported(failure) && !failing.has(failure.name))
  for (const { name } of fresh) failing.add(name)
  return fresh
}

export const newNotices = (registry: object, { notices }: Rendered): ReadonlyArray<string> => {
  if (notices.size === 0) return []
  const known = reportedOf(registry).notices
  const fresh = [...notices].filter(([key]) => !known.has(key))
  for (const [key] of fresh) known.add(key)
  return fresh.map(([, sentence]) => sentence)
}

/** Also if a metric has stopped failing, or the result is incomplete. */
export const hasNews = (registry: object, { failures, notices, stopped }: Rendered): boolean => {
  if (failures.length > 0 || stopped !== undefined) return true
  const { failing, notices: known } = reportedOf(registry)
  if (failing.size > 0) return true
  for (const key of notices.keys()) if (!known.has(key)) return true
  return false
}
