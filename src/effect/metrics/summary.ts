/**
 * Reads a summary of Effect. With a NaN among what Effect sorts for its quantiles, it never comes to the end of them, and
 * the process would stand still with the scrape.
 */
import type * as MetricState from "effect/MetricState"
import type { Hook } from "./effectFamilies.js"

/** The age up to which observations count for the quantiles. Effect compares with it each time that it is asked. */
interface Age {
  value: unknown
}

const none = { _tag: "Millis", millis: -1 }

/**
 * The same, but for quantiles that have no value from the first NaN on: the sum is none then. It is read first, while no
 * observation is young enough to be sorted.
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
    // What is no number may hide one that is NaN.
    const canBeSorted = typeof state.sum === "number" && !Number.isNaN(state.sum)
    return canBeSorted ? (hook.get() as MetricState.MetricState.Summary) : state
  }
  return { get } as Hook
}
