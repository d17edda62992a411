/** Scrapes of a registry: each is rendered, checked for failures, logged, and counted in the library's metrics about itself. */
import { checkDirectReads, registryReader } from "../client/directReadCheck.js"
import { foreignNotice, noticeServed } from "../client/foreignMetrics.js"
import { LateError } from "../exposition/collect.js"
import { formats } from "../exposition/formats.js"
import type { Failure } from "../exposition/render.js"
import type { Cancellation, Rendered, TimedOut } from "../exposition/renderRequest.js"
import { hasNews, newFailures, newlyFailed, newNotices } from "../exposition/reportedFailures.js"
import { renderAlone, renderShared, type SharedRenderOptions } from "../exposition/singleFlight.js"
import type { MetricRegistry } from "../registry/metricRegistry.js"
import type { ScrapeRecorder } from "../registry/scrapeRecorder.js"
import { countError } from "../registry/selfMetrics.js"
import type { Log } from "../util/log.js"
import { now } from "../util/realTimers.js"
import { clientClosed, type Endpoint, type ScrapeErrorResponse, type ScrapeRequest } from "./endpoint.js"
import type { ErrorPolicy, HandlerSettings } from "./handlerOptions.js"

/** `metrics` are those that failed, or that did not respond in time. */
export interface ScrapeFailure {
  readonly reason: "Collect" | "Registry" | "Timeout"
  readonly metrics: ReadonlyArray<string>
  readonly message: string
  readonly cause: unknown
}

/** Does not reject. */
export type Scrape = (request: ScrapeRequest, sharing: SharedRenderOptions) => Promise<Rendered | ScrapeErrorResponse>

export const newEndpoint = (
  registry: MetricRegistry,
  serving: HandlerSettings & Partial<Pick<Endpoint, "explorer" | "load" | "path">>,
  log: Log,
  onEvent: ScrapeRecorder
): Endpoint => {
  void checkDirectReads()
  const scrape = newScrape(registry, serving, log)
  return {
    path: undefined,
    explorer: false,
    load: { scrapes: 0 },
    ...serving,
    onEvent,
    scrape: async (request, cancellation) => {
      // All endpoints of a registry share its renders.
      const scraped = await scrape(request, { owner: registry, cancellation })
      if ("status" in scraped) return scraped
      const { done, families, source } = scraped
      const { contentType, epilogue } = formats[request.format]
      const body = await source.bytesOf(families, epilogue)
      return { contentType, body, done }
    }
  }
}

export const newScrape = (registry: MetricRegistry, policy: ErrorPolicy, log: Log): Scrape => {
  noticeServed(registry)
  return async (request, { cancellation, onProgress, owner }) => {
    try {
      void checkDirectReads()
      const notice = foreignNotice(registry)
      if (notice !== undefined) log("warn", notice)
      const { format, names } = request
      const renderRequest = { names, deadline: deadlineOf(request, policy), cancellation }
      const mode = { onProgress, isServed: true }
      const rendered = await renderShared(owner, registryReader(registry), format, renderRequest, mode)
      if (rendered === undefined) return clientClosed
      const failure = failureIn(registry, rendered, request, policy, log)
      return failure === undefined ? rendered : notScraped(failure)
    } catch (cause) {
      const failure = unreadable(cause)
      // What was thrown is for the log, not for the client.
      log("error", failure.message, cause)
      return notScraped(failure)
    }
  }
}

const statuses = {
  Collect: { status: 500, cause: "collect" },
  Registry: { status: 500, cause: "registry" },
  Timeout: { status: 503, cause: "timeout" }
} as const

const notScraped = ({ message, reason }: ScrapeFailure): ScrapeErrorResponse => ({ ...statuses[reason], message })

// Where metrics that do not respond are left out, some time is kept for writing the others.
const deadlineOf = ({ timeout }: ScrapeRequest, { onError }: ErrorPolicy) => {
  const at = now() + timeout
  const kept = onError === "continue" ? Math.min(500, timeout / 10) : 0
  return { at, patience: at - kept }
}

type Reading = Omit<ScrapeRequest, "timeout">

/** Shared with no other render. `undefined` when the caller has left before the end. */
export const renderOnce = async (
  registry: MetricRegistry,
  request: Reading,
  policy: ErrorPolicy,
  cancellation: Cancellation,
  log: Log
): Promise<Rendered | ScrapeFailure | undefined> => {
  try {
    void checkDirectReads()
    const { format, names } = request
    const reader = registryReader(registry)
    const rendered = await renderAlone(reader, format, { names, cancellation }, { isServed: false })
    return rendered && (failureIn(registry, rendered, request, policy, log) ?? rendered)
  } catch (cause) {
    return unreadable(cause)
  }
}

const unreadable = (cause: unknown): ScrapeFailure => ({
  reason: "Registry",
  metrics: [],
  message: "the registry could not be read",
  cause
})

// Returns why there is no exposition, if there is none.
const failureIn = (
  registry: MetricRegistry,
  rendered: Rendered,
  request: Reading,
  { onError }: ErrorPolicy,
  log: Log
): ScrapeFailure | undefined => {
  if (!hasNews(registry, rendered)) return undefined
  report(registry, rendered, request, log)
  const failure = failureOf(rendered, onError)
  if (failure !== undefined) rendered.done()
  return failure
}

const failureOf = ({ failures, stopped }: Rendered, onError: ErrorPolicy["onError"]): ScrapeFailure | undefined => {
  if (stopped !== undefined) return timedOut(stopped)
  const [failure] = failures
  if (failure === undefined || onError === "continue") return undefined
  const late = failures.filter(({ error }) => error instanceof LateError).map(({ name }) => name)
  if (late.length > 0) return timedOut({ names: late, isWaiting: true })
  const metrics = failures.map(({ name }) => name)
  return { reason: "Collect", metrics, message: `collecting ${metrics.join(", ")} failed`, cause: failure.error }
}

const timedOut = ({ isWaiting, names }: TimedOut): ScrapeFailure => ({
  reason: "Timeout",
  metrics: isWaiting ? names : [],
  message: `the scrape timed out ${isWaiting ? "while waiting for" : "before collecting"} ${names.join(", ")}`,
  cause: undefined
})

// A metric that fails is counted each time, and logged when it begins to fail. A late one is not reported where the
// deadline was shorter than a metric should need.
const report = (registry: MetricRegistry, rendered: Rendered, { hasShortDeadline, names }: Reading, log: Log): void => {
  const { failures, stopped } = rendered
  const isReported = ({ error }: Failure): boolean => !hasShortDeadline || !(error instanceof LateError)
  for (let left = newlyFailed(registry, failures.filter(isReported)); left > 0; left -= 1) {
    countError(registry, "collect")
  }
  const isCovered = (name: string): boolean => stopped === undefined && (names?.includes(name) ?? true)
  for (const { error, name } of newFailures(registry, rendered, { isReported, isCovered })) {
    log("error", `collecting ${name} failed`, error)
  }
  for (const notice of newNotices(registry, rendered)) log("warn", notice)
}
