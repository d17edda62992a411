/**
 * The requests of `@effect/rpc`, measured by a middleware of their group: whatever protocol carries them.
 *
 * Nothing of `@effect/rpc` is loaded here: its server knows a middleware by a key, and by what the middleware says of
 * itself. Tested with @effect/rpc 0.76.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { durationBuckets } from "../internal/httpMetrics.js"
import * as Metrics from "../Metrics.js"
import * as Registry from "../Registry.js"

/** What the server asks of a middleware that wraps handlers. */
type Wrap = <A, E, R>(request: {
  readonly rpc: { readonly _tag: string }
  readonly next: Effect.Effect<A, E, R>
}) => Effect.Effect<A, E, R>

/**
 * A group of `@effect/rpc`, as far as it is needed.
 *
 * @since 0.1.0
 * @category models
 */
export interface RpcGroup {
  readonly requests: ReadonlyMap<string, unknown>
  readonly middleware: (middleware: never) => unknown
}

const duration = Registry.histogram({
  name: "rpc_server_request_duration_seconds",
  help: "Time from the start of an RPC's handler until its answer or its stream has ended, in seconds.",
  labelNames: ["procedure", "outcome"],
  buckets: [...durationBuckets]
})

const inProgress = Registry.gauge({
  name: "rpc_server_requests_in_progress",
  help: "RPCs that are being answered, by procedure.",
  labelNames: ["procedure"]
})

// A cause may hold several: a defect is the worst of them.
const outcomeOf = (exit: Exit.Exit<unknown, unknown>): string => {
  if (Exit.isSuccess(exit)) return "success"
  if (Cause.isDie(exit.cause)) return "defect"
  return Cause.isFailure(exit.cause) ? "failure" : "interrupt"
}

const wrap: Wrap = ({ next, rpc: { _tag: procedure } }) =>
  Effect.matchEffect(Effect.zip(duration, inProgress), {
    // The registry cannot take them. The application goes on.
    onFailure: (error) => Effect.zipRight(Effect.logWarning(error.message), next),
    onSuccess: ([seconds, running]) =>
      next.pipe(
        Metrics.timed(seconds, { labels: (exit) => ({ procedure, outcome: outcomeOf(exit) }) }),
        Metrics.trackInprogress(running, { labels: { procedure } })
      )
  })

// A reference, so that no layer has to provide it.
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

/** The same group, measured. */
export const measuredRpcs = <Group extends RpcGroup>(group: Group): Group => {
  if (typeof group?.middleware !== "function" || typeof group.requests?.get !== "function") {
    throw new TypeError("HttpMetrics.rpc needs an RpcGroup, such as RpcGroup.make(…)")
  }
  return group.middleware(middleware as never) as Group
}
