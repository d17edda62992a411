/** One scrape of the registry in context: read, told of, and recorded on the metrics of the server itself. */
import * as Cause from "effect/Cause"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import { epilogues } from "../internal/encoder.js"
import type { Ask, Endpoint, NotScraped, Scraped } from "../internal/endpoint.js"
import { clientClosed } from "../internal/endpoint.js"
import { newFailures, newlyFailed, newNotices } from "../internal/failures.js"
import { contentTypes } from "../internal/negotiation.js"
import { LateError } from "../internal/readings.js"
import type { Flight, OnOwnMetric, OwnMetricName, ScrapeEvent } from "../internal/selfMetrics.js"
import { ownMetrics, record, scrapeMetrics, seriesOf } from "../internal/selfMetrics.js"
import type { ErrorPolicy, Serving } from "../internal/serving.js"
import type { Leaving, Rendered, Sharing, Stopped } from "../internal/sharedRender.js"
import { renderAlone, renderShared } from "../internal/sharedRender.js"
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
  Effect.map(
    Effect.all([Effect.runtime<never>(), Registry, telling(serving, metrics)]),
    ([runtime, registry, tell]) => {
      void lookForShortcuts(client)
      const { compression, load = { scrapes: 0 }, maxScrapesInFlight, onError, path, scrapeTimeout } = serving
      const { explorer = false } = serving
      const run = Runtime.runPromise(runtime)
      return {
        path,
        explorer,
        compression,
        scrapeTimeout,
        maxScrapesInFlight,
        load,
        tell,
        scrape: (ask, leaving) => run(scrape(registry, ask, { onError }, leaving))
      }
    }
  )

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

// Whichever way the registry is served: those who ask at the same time share one render.
const scrape = (
  registry: MetricRegistry,
  ask: Ask,
  policy: ErrorPolicy,
  leaving: Leaving | undefined
): Effect.Effect<Scraped> =>
  Effect.flatMap(scrapeFamilies(ask, policy, { owner: registry, leaving }), (scraped): Effect.Effect<Scraped> => {
    if ("status" in scraped) return Effect.succeed(scraped)
    const { done, families, source } = scraped
    return Effect.map(
      Effect.promise(() => source.bytesOf(families, epilogues[ask.format])),
      (body) => ({ contentType: contentTypes[ask.format], body, done })
    )
  })

/**
 * A scrape of the registry in context that cannot fail, only say why there is no exposition.
 */
export const scrapeFamilies = (ask: Ask, policy: ErrorPolicy, sharing: Sharing): Effect.Effect<Rendered | NotScraped> =>
  Effect.suspend(() =>
    Effect.matchEffect(read(ask, policy, { ...sharing, deadline: deadlineOf(ask, policy) }), {
      onSuccess: (rendered): Effect.Effect<Rendered | NotScraped> => Effect.succeed(rendered ?? clientClosed),
      onFailure: ({ cause, message, reason }) =>
        // What was thrown is for the log, not for whoever scrapes. A metric that fails is logged already.
        Effect.as(reason === "Registry" ? Effect.logError(message, Cause.die(cause)) : Effect.void, {
          status: reason === "Timeout" ? (503 as const) : (500 as const),
          cause: errorOf[reason],
          message
        })
    })
  )

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
  // It leaves only where it is interrupted.
  Effect.flatMap(read(ask, policy, {}), (rendered) =>
    rendered === undefined ? Effect.never : Effect.succeed(rendered)
  )

interface Reader extends Partial<Sharing> {
  readonly deadline?: { readonly at: number; readonly patience: number }
}

// Undefined: who asked has left.
const read = (
  ask: Reading,
  policy: ErrorPolicy,
  { deadline, leaving, onProgress, owner }: Reader
): Effect.Effect<Rendered | undefined, ExpositionError> =>
  Effect.flatMap(Registry, (registry) =>
    Effect.flatMap(
      interruptible(leaving, (left) => ({
        try: () => {
          void lookForShortcuts(client)
          const { format, names } = ask
          const wanted = { names, deadline, leaving: left }
          const way = { shortcuts: knownShortcuts(), onProgress, isServed: owner !== undefined }
          return owner === undefined
            ? renderAlone(registry, format, wanted, way)
            : renderShared(owner, registry, format, wanted, way)
        },
        catch: (cause) =>
          new ExpositionError({ reason: "Registry", metrics: [], message: "the registry could not be read", cause })
      })),
      (rendered) => {
        if (rendered === undefined) return Effect.succeed(rendered)
        return Effect.zipRight(tell(registry, rendered, ask), judged(rendered, policy))
      }
    )
  )

// Where it is interrupted, the render ends as well.
const interruptible = <A, E>(
  given: Leaving | undefined,
  options: (leaving: Leaving) => { readonly try: () => Promise<A>; readonly catch: (cause: unknown) => E }
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const leaving: Leaving = given ?? { hasLeft: false, onLeave: undefined }
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
