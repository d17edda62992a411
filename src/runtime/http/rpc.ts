/**
 * Measures the requests of `@effect/rpc` by a middleware of their group, with every protocol.
 *
 * `@effect/rpc` is not loaded here: its server identifies a middleware by a key and by its properties. Tested with
 * @effect/rpc 0.76.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { Registry } from "../../compat/registry.js"
import { httpSchemes } from "../../core/http/metrics.js"
import { type Plan, planned } from "../../core/instrument/instruments.js"
import type { Gauge, Labels, Observer } from "../../core/instrument/labels.js"
import { getOrCreate } from "../../core/registry/getOrCreate.js"
import type { Family } from "../../core/registry/metricDefinition.js"
import type { MetricRegistry } from "../../core/registry/metricRegistry.js"
import { messageOf } from "../../core/util/text.js"
import { instrumentOptions } from "../../effect/run.js"
import { measured } from "../measured.js"

/** Required by the server of a middleware that wraps handlers. */
type Wrap = <A, E, R>(request: {
  readonly rpc: { readonly _tag: string }
  readonly next: Effect.Effect<A, E, R>
}) => Effect.Effect<A, E, R>

/**
 * The part of an `@effect/rpc` group that is used here.
 *
 * @since 0.1.0
 * @category models
 */
export interface RpcGroup {
  readonly requests: ReadonlyMap<string, unknown>
  readonly middleware: (middleware: never) => unknown
}

const duration: Family = {
  type: "histogram",
  name: "rpc_server_request_duration_seconds",
  help: "Time from the start of an RPC handler until the end of its response or stream, in seconds.",
  labelNames: ["procedure", "outcome"],
  buckets: httpSchemes.default.durationBuckets
}

const inProgress: Family = {
  type: "gauge",
  name: "rpc_server_requests_in_progress",
  help: "RPCs in progress, by procedure.",
  labelNames: ["procedure"]
}

type AnyExit = Exit.Exit<unknown, unknown>

// A cause may hold several outcomes. A defect takes precedence over the others.
const outcomeOf = (exit: AnyExit): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isDie(exit.cause)) return "defect"
  return Cause.isFailure(exit.cause) ? "failure" : "interrupt"
}

// Throws if the registry cannot hold the metrics.
const planOn = (registry: MetricRegistry, procedure: string): Plan<AnyExit> =>
  planned<AnyExit, never>(
    {
      duration: {
        metric: getOrCreate(registry, duration) as Observer,
        labels: (exit: AnyExit) => ({ procedure, outcome: outcomeOf(exit) })
      },
      inProgress: { metric: getOrCreate(registry, inProgress) as Gauge, labels: { procedure } as Labels }
    },
    () => () => false,
    instrumentOptions
  )

const wrap: Wrap = ({ next, rpc: { _tag: procedure } }) =>
  Effect.flatMap(Registry, (registry) => {
    let plan: Plan<AnyExit>
    try {
      plan = planOn(registry, procedure)
    } catch (error) {
      // The application continues without measurement.
      return Effect.zipRight(Effect.logWarning(messageOf(error)), next)
    }
    return measured(next, plan)
  })

// A reference has a default, so no layer has to provide it.
class RpcMeasuring extends Context.Reference<RpcMeasuring>()("effect-prometheus/RpcMeasuring", {
  defaultValue: () => wrap
}) {}

const middleware = Object.assign(RpcMeasuring, {
  [Symbol.for("@effect/rpc/RpcMiddleware")]: Symbol.for("@effect/rpc/RpcMiddleware"),
  wrap: true,
  optional: false,
  requiredForClient: false,
  failure: Schema.Never
})

export const measuredRpcs = <Group extends RpcGroup>(group: Group): Group => {
  if (typeof group?.middleware !== "function" || typeof group.requests?.get !== "function") {
    throw new TypeError("HttpMetrics.rpc needs an RpcGroup, such as RpcGroup.make(…)")
  }
  return group.middleware(middleware as never) as Group
}
