/** How an exposition is served, whoever serves it. */
import type * as Duration from "effect/Duration"
import { booleanOption, choiceOption, countOption, durationOption } from "./options.js"

/** What is looked at, as it is given. */
export interface GivenServing {
  readonly onError?: "fail" | "continue" | undefined
  readonly compression?: boolean | undefined
  readonly scrapeTimeout?: Duration.DurationInput | undefined
  readonly maxScrapesInFlight?: number | undefined
  readonly selfMetrics?: boolean | undefined
}

/** The same with its defaults, times in milliseconds. It throws a `RangeError` that names the option which is none. */
export const checkedServing = (options: GivenServing) => ({
  onError: choiceOption("onError", options.onError, ["fail", "continue"], "fail"),
  compression: booleanOption("compression", options.compression, true),
  scrapeTimeout: durationOption("scrapeTimeout", options.scrapeTimeout, "30 seconds"),
  maxScrapesInFlight: countOption("maxScrapesInFlight", options.maxScrapesInFlight, 64),
  selfMetrics: booleanOption("selfMetrics", options.selfMetrics, true)
})
