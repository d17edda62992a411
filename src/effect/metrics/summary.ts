/**
 * Reads a summary of Effect. If there is a NaN among the values that Effect sorts for the quantiles, Effect never
 * finishes, and the scrape would block the process.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22: `get` of a summary's hook reads the `maxAge` of
 * its key at each call. If that changes, summaries are read as they are, and a NaN blocks the process again.
 */
import type * as MetricState from "effect/MetricState"
import type { Hook } from "./families.js"

/** Effect reads it at each reading of the summary: older observations do not count for the quantiles. */
interface Age {
  value: unknown
}

const none = { _tag: "Millis", millis: -1 }

/**
 * After the first NaN, the sum is NaN and the quantiles have no value. The sum is read first, with an age limit that
 * excludes all observations from sorting.
 */
export const readable = (hook: Hook, maxAge: object): Hook => {
  const age = maxAge as Age
  const get = (): MetricState.MetricState.Summary => {
    const { value } = age
    age.value = none
    let state: MetricState.MetricState.Summary
    try {
      state = hook.get() as MetricState.MetricState.Summary
    } finally {
      age.value = value
    }
    // A sum that is not a number may hide a NaN.
    const canBeSorted = typeof state.sum === "number" && !Number.isNaN(state.sum)
    return canBeSorted ? (hook.get() as MetricState.MetricState.Summary) : state
  }
  return { get } as Hook
}
