/** Warnings for metrics that fail: once per metric, not once per observation. */

import { oncePerProcess } from "../util/oncePerProcess.js"
import { messageOf } from "../util/text.js"

/** Their failure does not affect the measured code; `collect` is the operation of a scrape. */
export const operations = ["observe", "inc", "dec", "collect"] as const

export type Operation = (typeof operations)[number]

const warned = oncePerProcess("warned metrics", () => new WeakSet<object>())
const warnedOfChildren = oncePerProcess("warned children", () => new Set<string>())
const mostMessages = 1_000

/**
 * `undefined` if there was already a warning for this metric. A labelled child has no name and is often created anew
 * for each call, so children are distinguished by the messages of their errors, up to a limit.
 */
export const warningFor = (metric: object, operation: Operation, error: unknown): string | undefined => {
  const name = nameOf(metric)
  const reason = messageOf(error)
  if (name !== undefined) {
    if (warned.has(metric)) return undefined
    warned.add(metric)
  } else {
    const key = `${operation}: ${reason}`
    if (warnedOfChildren.has(key) || warnedOfChildren.size >= mostMessages) return undefined
    warnedOfChildren.add(key)
  }
  const subject = name === undefined ? "a labelled child of a metric" : `metric ${name}`
  return (
    `${operation} on ${subject} failed: ${reason}. The measured code is not affected. ` +
    "Each failure is counted in effect_prometheus_errors_total; this is logged once per metric"
  )
}

/** Undefined for a labelled child. */
export const nameOf = (metric: object): string | undefined => {
  try {
    const { name } = metric as { readonly name?: unknown }
    return typeof name === "string" ? name : undefined
  } catch {
    return undefined
  }
}
