import { assert } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Scope } from "effect"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import * as MetricsServer from "../../src/MetricsServer.js"
import * as Registry from "../../src/Registry.js"
import * as ServiceDiscovery from "../../src/ServiceDiscovery.js"
import { patience } from "./timing.js"

/** The tests run the library from `src`; a worker can only be started from what was built. */
export const workerUrl = new URL("../../dist/esm/worker.mjs", import.meta.url)

export interface ServerKind {
  readonly name: string
  readonly make: typeof MetricsServer.makeWorker
  readonly layer: typeof MetricsServer.layerWorker
}

const worker = (by: MetricsServer.WorkerOptions): ServerKind => ({
  name: "in a worker thread",
  make: (options) => MetricsServer.makeWorker({ ...by, ...options }),
  layer: (options) => MetricsServer.layerWorker({ ...by, ...options })
})

export const inThisThread: ServerKind = {
  name: "in this thread",
  make: MetricsServer.make,
  layer: MetricsServer.layer
}

/** It answers with older numbers where this thread does not show that it lives. */
export const inWorker = worker({ workerUrl })

/** It does not, so that its numbers are fresh however long a machine with other things to do keeps this thread. */
export const inPatientWorker = worker({ workerUrl, grace: patience })

/** The servers that behave alike. */
export const serverKinds: ReadonlyArray<ServerKind> = [inThisThread, inPatientWorker]

export interface LogLine {
  readonly level: string
  readonly message: string
  /** The error behind it, if there is one. */
  readonly cause?: string
}

/** A logger that replaces the default one, and its lines. */
export const logging = (): { readonly lines: Array<LogLine>; readonly layer: Layer.Layer<never> } => {
  const lines: Array<LogLine> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    lines.push({ level: logLevel.label, message: [message].flat().map(String).join(" "), cause: Cause.pretty(cause) })
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

export interface ServerContext {
  readonly registry?: PromRegistry
  readonly discovery?: ServiceDiscovery.Discovery
  readonly kind?: ServerKind
}

/** The layer of a server on 127.0.0.1 with a registry of its own, and what it logs. */
export const serverLayer = (
  kind: ServerKind,
  options: MetricsServer.WorkerOptions = {},
  around: ServerContext = {}
) => {
  const { layer: logger, lines } = logging()
  const { discovery, registry = new PromRegistry() } = around
  const served = kind.layer({ host: "127.0.0.1", ...options })
  const registered = discovery === undefined ? served : Layer.provide(served, ServiceDiscovery.layer(discovery))
  return { lines, layer: registered.pipe(Layer.provide(Registry.layer(registry)), Layer.provide(logger)) }
}

/** A server that runs until the scope of the test closes. */
export const started = (kind: ServerKind, options?: MetricsServer.WorkerOptions, around?: ServerContext) => {
  const { layer, lines } = serverLayer(kind, options, around)
  return Effect.map(Layer.build(layer), (context) => ({ ...Context.get(context, MetricsServer.MetricsServer), lines }))
}

/** A server that runs until `stop`, or until the scope of the test closes. */
export const stoppable = (kind: ServerKind, options?: MetricsServer.WorkerOptions, around?: ServerContext) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
    const server = yield* Scope.extend(started(kind, options, around), scope)
    return { ...server, stop: Scope.close(scope, Exit.void) }
  })

/** A server in a fiber of its own, which is interrupted to stop it. */
const interruptible =
  (run: (layer: Layer.Layer<MetricsServer.MetricsServer, unknown>, ready: Ready) => Effect.Effect<never, unknown>) =>
  (kind: ServerKind, options?: MetricsServer.WorkerOptions, around?: ServerContext) =>
    Effect.gen(function* () {
      const { layer, lines } = serverLayer(kind, options, around)
      const ready = yield* Deferred.make<MetricsServer.RunningServer>()
      const fiber = yield* Effect.forkDaemon(run(layer, ready))
      yield* Effect.addFinalizer(() => Fiber.interrupt(fiber))
      const server = yield* Effect.raceFirst(Deferred.await(ready), Effect.orDie(Fiber.join(fiber)))
      return { ...server, lines, stop: Effect.asVoid(Fiber.interrupt(fiber)) }
    })

type Ready = Deferred.Deferred<MetricsServer.RunningServer>

const announced = (ready: Ready) =>
  Effect.flatMap(MetricsServer.MetricsServer, (server) => Deferred.succeed(ready, server))

/** The ways in which a server comes to its end. */
export const shutdownMethods: ReadonlyArray<{ readonly how: string; readonly stoppable: typeof stoppable }> = [
  { how: "when its scope closes", stoppable },
  {
    how: "when the fiber of Layer.launch is interrupted",
    stoppable: interruptible((layer, ready) =>
      Layer.launch(Layer.provide(Layer.effectDiscard(announced(ready)), layer))
    )
  },
  {
    how: "when the fiber of a program that uses it is interrupted",
    stoppable: interruptible((layer, ready) => Effect.provide(Effect.zipRight(announced(ready), Effect.never), layer))
  }
]

/** The failure of a server to start, which is a typed one. */
export const refused = <A, E, R>(
  start: Effect.Effect<A, E, R>
): Effect.Effect<MetricsServer.MetricsServerError, never, R> =>
  Effect.map(Effect.exit(start), (exit) => {
    const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : "it started"
    if (error instanceof MetricsServer.MetricsServerError) return error
    return assert.fail(
      `not refused with a MetricsServerError: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : error}`
    )
  })

/** A registry with a few metrics. */
export const someMetrics = (): PromRegistry => {
  const registry = new PromRegistry()
  const registers = [registry]
  new Counter({ name: "jobs_total", help: "Jobs.", registers }).inc(3)
  new Gauge({ name: "queue_length", help: "Jobs that wait.", labelNames: ["queue"], registers }).set({ queue: "a" }, 2)
  return registry
}

/** A registry with a metric whose collect waits on demand until it is released, or until `patience` is over. */
export const gatedCollector = () => {
  const registry = someMetrics()
  let gate: { readonly reached: Deferred.Deferred<void>; readonly opened: Deferred.Deferred<void> } | undefined
  new Gauge({
    name: "slow",
    help: "h",
    registers: [registry],
    async collect() {
      if (gate === undefined) return
      const { opened, reached } = gate
      const waiting = Effect.timeoutOption(Deferred.await(opened), patience)
      await Effect.runPromise(Effect.zipRight(Deferred.succeed(reached, undefined), waiting))
      this.set(1)
    }
  })
  const shut = Effect.gen(function* () {
    gate = { reached: yield* Deferred.make<void>(), opened: yield* Deferred.make<void>() }
    const { opened, reached } = gate
    return { reached: Deferred.await(reached), open: Deferred.succeed(opened, undefined) }
  })
  return { registry, shut }
}
