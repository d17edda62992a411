/** One scrape of the registry in context: read, told of, and recorded on the metrics of the server itself. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { epilogues } from "../internal/encoder.js"
import type { Ask, Endpoint, NotScraped } from "../internal/endpoint.js"
import { clientClosed } from "../internal/endpoint.js"
import { hasNews, newFailures, newlyFailed, newNotices } from "../internal/failures.js"
import { contentTypes } from "../internal/negotiation.js"
import { LateError } from "../internal/readings.js"
import type { Flight, OnOwnMetric, OwnMetricName, ScrapeEvent } from "../internal/selfMetrics.js"
import { ownMetrics, record, scrapeMetrics, seriesOf } from "../internal/selfMetrics.js"
import type { ErrorPolicy, Serving } from "../internal/serving.js"
import type { Leaving, Rendered, Stopped } from "../internal/sharedRender.js"
import type { Sharing } from "../internal/sharing.js"
import { renderAlone, renderShared } from "../internal/sharing.js"
import { knownShortcuts, lookForShortcuts } from "../internal/shortcuts.js"
import { now } from "../internal/timer.js"
import type { MetricRegistry } from "../Registry.js"
import { client, Registry, unsafeCountError, unsafeOwnMetric } from "../Registry.js"

/**
 * There is no exposition, because metrics could not be read (`reason: "Collect"`, and `metrics` names them), because the
 * registry itself could not (`reason: "Registry"`), or because the time was over (`reason: "Timeout"`, and `metrics` names
 * those that had not answered; only a scrape has a limit to its time).
 *
 * @since 0.1.0
 * @category errors
 */
export class ExpositionError extends Data.TaggedError("ExpositionError")<{
  readonly reason: "Collect" | "Registry" | "Timeout"
  readonly metrics: ReadonlyArray<string>
  readonly message: string
  readonly cause: unknown
}> {}

/**
 * The endpoint of the registry in context, for whoever serves it.
 */
export const endpoint = (
  serving: Serving & Partial<Pick<Endpoint, "explorer" | "load" | "path">>,
  metrics?: ReadonlyArray<OwnMetricName>
): Effect.Effect<Endpoint> =>
  Effect.map(Effect.all([Registry, telling(serving, metrics), scraper(serving)]), ([registry, tell, scrape]) => {
    void lookForShortcuts(client)
    const { compression, explorer = false, load = { scrapes: 0 }, maxScrapesInFlight, path, scrapeTimeout } = serving
    return {
      path,
      explorer,
      compression,
      scrapeTimeout,
      maxScrapesInFlight,
      load,
      tell,
      // Whichever way the registry is served: those who ask at the same time share one render.
      scrape: async (ask, leaving) => {
        const scraped = await scrape(ask, { owner: registry, leaving })
        if ("status" in scraped) return scraped
        const { done, families, source } = scraped
        const body = await source.bytesOf(families, epilogues[ask.format])
        return { contentType: contentTypes[ask.format], body, done }
      }
    }
  })

/**
 * Records what the endpoint of the registry in context is told of its scrapes, on metrics that are there from now on, and
 * with each scrape again, if the registry was cleared or its metrics were reset.
 */
export const telling = (
  { selfMetrics }: Serving,
  metrics: ReadonlyArray<OwnMetricName> = scrapeMetrics
): Effect.Effect<(event: ScrapeEvent) => void> =>
  Effect.map(Registry, (registry) => {
    const on: OnOwnMetric = (name, act) => {
      try {
        act(unsafeOwnMetric(registry, name))
      } catch {
        // A registry that cannot hold them, or holds another under that name, is nothing for a scrape to fall for.
      }
    }
    const names: ReadonlyArray<OwnMetricName> = selfMetrics ? ["errors", ...metrics] : ["errors"]
    const series = names.map((name) => ({ name, all: seriesOf(ownMetrics[name]) }))
    const begin = (): void => {
      for (const { name, all } of series) {
        on(name, (metric) => {
          for (const labels of all) metric.inc(labels, 0)
        })
      }
    }
    begin()
    const all = flights.get(registry) ?? { scrapes: 0 }
    flights.set(registry, all)
    const flight: Flight = { all, scrapes: 0 }
    return (event) => {
      if (event.tag === "Began" || event.tag === "Reported") begin()
      if (selfMetrics) record(event, flight, on)
    }
  })

// How many scrapes of a registry are in flight.
const flights = new WeakMap<MetricRegistry, { scrapes: number }>()

/** Scrapes the registry in context. It does not reject, and says why there is no exposition. */
export type Scrape = (ask: Ask, sharing: Sharing) => Promise<Rendered | NotScraped>

/**
 * How the registry in context is scraped. Nearly always there is nothing to report of a scrape, and no effect is run for it:
 * that takes longer than to render a small registry.
 */
export const scraper = (policy: ErrorPolicy): Effect.Effect<Scrape> =>
  Effect.map(Effect.all([Effect.runtime<never>(), Registry]), ([runtime, registry]): Scrape => {
    const run = Runtime.runPromise(runtime)
    return async (ask, { leaving, onProgress, owner }) => {
      try {
        void lookForShortcuts(client)
        const { format, names } = ask
        const wanted = { names, deadline: deadlineOf(ask, policy), leaving }
        const way = { shortcuts: knownShortcuts(), onProgress, isServed: true }
        const rendered = await renderShared(owner, registry, format, wanted, way)
        if (rendered === undefined) return clientClosed
        if (!hasNews(registry, rendered)) return rendered
        return await run(Effect.catchAll(reported(registry, rendered, ask, policy), notScraped))
      } catch (cause) {
        return run(notScraped(unreadable(cause)))
      }
    }
  })

// What was thrown is for the log, not for the client. A metric that fails is logged already.
const notScraped = ({ cause, message, reason }: ExpositionError): Effect.Effect<NotScraped> =>
  Effect.as(reason === "Registry" ? Effect.logError(message, Cause.die(cause)) : Effect.void, {
    status: reason === "Timeout" ? (503 as const) : (500 as const),
    cause: errorOf[reason],
    message
  })

const errorOf = { Collect: "collect", Registry: "registry", Timeout: "timeout" } as const

// Where those that do not answer are left out, some time is kept for the others.
const deadlineOf = ({ timeout }: Ask, { onError }: ErrorPolicy) => {
  const at = now() + timeout
  const kept = onError === "continue" ? Math.min(500, timeout / 10) : 0
  return { at, patience: at - kept }
}

type Reading = Omit<Ask, "timeout">

/** Reads the registry in context alone, and reports metrics that cannot be read. */
export const readAlone = (ask: Reading, policy: ErrorPolicy): Effect.Effect<Rendered, ExpositionError> =>
  Effect.flatMap(Registry, (registry) =>
    Effect.flatMap(
      interruptible((leaving) => ({
        try: () => {
          void lookForShortcuts(client)
          const { format, names } = ask
          return renderAlone(registry, format, { names, leaving }, { shortcuts: knownShortcuts(), isServed: false })
        },
        catch: unreadable
      })),
      // It leaves only where it is interrupted.
      (rendered) => (rendered === undefined ? Effect.never : reported(registry, rendered, ask, policy))
    )
  )

const unreadable = (cause: unknown): ExpositionError =>
  new ExpositionError({ reason: "Registry", metrics: [], message: "the registry could not be read", cause })

const reported = (
  registry: MetricRegistry,
  rendered: Rendered,
  ask: Reading,
  policy: ErrorPolicy
): Effect.Effect<Rendered, ExpositionError> => Effect.zipRight(tell(registry, rendered, ask), judged(rendered, policy))

// Where it is interrupted, the render ends as well.
const interruptible = <A, E>(
  options: (leaving: Leaving) => { readonly try: () => Promise<A>; readonly catch: (cause: unknown) => E }
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const leaving: Leaving = { hasLeft: false, onLeave: undefined }
    return Effect.onInterrupt(Effect.tryPromise(options(leaving)), () =>
      Effect.sync(() => {
        leaving.hasLeft = true
        leaving.onLeave?.()
      })
    )
  })

const judged = (rendered: Rendered, { onError }: ErrorPolicy): Effect.Effect<Rendered, ExpositionError> => {
  const exit = judgement(rendered, onError)
  if (exit === undefined) return Effect.succeed(rendered)
  rendered.done()
  return Effect.fail(exit)
}

// Why there is no exposition, if there is none.
const judgement = (rendered: Rendered, onError: ErrorPolicy["onError"]): ExpositionError | undefined => {
  const { failures, stopped } = rendered
  if (stopped !== undefined) return tooLate(stopped)
  const [failure] = failures
  if (failure === undefined || onError === "continue") return undefined
  const late = failures.filter(({ error }) => error instanceof LateError).map(({ name }) => name)
  if (late.length > 0) return tooLate({ names: late, isWaiting: true })
  const metrics = failures.map(({ name }) => name)
  const message = `collecting ${metrics.join(", ")} failed`
  return new ExpositionError({ reason: "Collect", metrics, message, cause: failure.error })
}

const tooLate = ({ isWaiting, names }: Stopped): ExpositionError => {
  const message = isWaiting
    ? `the time was over before these had answered: ${names.join(", ")}`
    : `the time was over before it was the turn of ${names.join(", ")}`
  return new ExpositionError({ reason: "Timeout", metrics: isWaiting ? names : [], message, cause: undefined })
}

// A metric that fails is counted every time, and logged when it begins to; but not one that somebody in a hurry did not
// wait for.
const tell = (registry: MetricRegistry, rendered: Rendered, { isHurried }: Reading): Effect.Effect<void> => {
  const { failures: all } = rendered
  const told = { ...rendered, failures: isHurried ? all.filter(({ error }) => !(error instanceof LateError)) : all }
  for (let left = newlyFailed(registry, told); left > 0; left -= 1) unsafeCountError(registry, "collect")
  const failures = newFailures(registry, told)
  const notices = newNotices(registry, told)
  if (failures.length + notices.length === 0) return Effect.void
  return Effect.zipRight(
    Effect.forEach(failures, ({ error, name }) => Effect.logError(`collecting ${name} failed`, Cause.die(error)), {
      discard: true
    }),
    Effect.forEach(notices, (notice) => Effect.logWarning(notice), { discard: true })
  )
}
