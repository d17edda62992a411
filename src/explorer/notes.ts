/** What the user has to know of the numbers of a family that is open. */
import type { Found } from "./filter.js"
import { isDistribution } from "./model.js"
import { isMinute, latestName, observedByAll, type Span } from "./observations.js"

/** Sentences; empty if there is nothing to say. */
export const notesOf = (found: Found, span: Span, by: ReadonlyArray<string>): string => {
  if (!isDistribution(found.family.kind)) return ""
  return [spanNote(found, span), sumNote(found, by)].filter(Boolean).join(" ")
}

const spanNote = ({ window }: Found, span: Span): string => {
  if (span !== "minute" || isMinute(window)) return ""
  if (window === 0)
    return "These are the observations since the start. Those of the last minute come with the next refresh."
  return `Nothing was requested a minute ago: these are the observations of the ${latestName(window)}.`
}

const sumNote = ({ family, series }: Found, by: ReadonlyArray<string>): string => {
  if (by.length === 0) return ""
  if (family.kind === "summary") return "Quantiles of summaries cannot be summed: only the sum and the count are."
  const isMixed = series.length > 1 && observedByAll(series, "start").buckets.length === 0
  return isMixed ? "Series with different buckets have no common quantiles." : ""
}
