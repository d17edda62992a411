/** A metric that fails is told once, not once per observation. */
import { messageOf } from "./message.js"

/** What can fail in a metric without failing what it measures; `collect` is what a scrape asks of it. */
export const operations = ["observe", "inc", "dec", "collect"] as const

/** One of `operations`. */
export type Operation = (typeof operations)[number]

const told = new WeakSet<object>()
const toldOfChildren = new Set<string>()
const mostMessages = 1_000

/**
 * The warning for an operation that failed, or `undefined` if this metric had one before.
 *
 * A labelled child has no name and is often made anew for each call: children are told apart by the message of their
 * error, up to a bound.
 */
export const warningFor = (metric: object, operation: Operation, error: unknown): string | undefined => {
  const name = nameOf(metric)
  const reason = messageOf(error)
  if (name !== undefined) {
    if (told.has(metric)) return undefined
    told.add(metric)
  } else {
    const key = `${operation}: ${reason}`
    if (toldOfChildren.has(key) || toldOfChildren.size >= mostMessages) return undefined
    toldOfChildren.add(key)
  }
  const subject = name === undefined ? "a labelled child of a metric" : `metric ${name}`
  return (
    `${operation} on ${subject} failed: ${reason}. What it measures goes on unchanged; ` +
    "each such failure is counted in effect_prometheus_errors_total, and this is logged once per metric"
  )
}

const nameOf = (metric: object): string | undefined => {
  try {
    const { name } = metric as { readonly name?: unknown }
    return typeof name === "string" ? name : undefined
  } catch {
    return undefined
  }
}
