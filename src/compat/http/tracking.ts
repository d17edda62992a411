/**
 * Follows a request through the fibers that answer it: which contexts they enter, and where they are forked.
 *
 * Both routers run a handler with its `RouteContext` in the context of the fiber, by `Effect.locally`, which calls
 * `setFiberRef` of the fiber. So this method is replaced by one that, in a fiber that answers a request, reports each new
 * context. Where a fiber is forked, `getFiberRefs` of its parent is called.
 *
 * With Node.js, a server asks a request for its response, by the property `resolvedResponse`, before it writes.
 *
 * This file depends on internals of Effect, and was tested with effect 3.22, @effect/platform 0.97 and
 * @effect/platform-node 0.108: `setFiberRef` and `getFiberRefs` of fibers, and `resolvedResponse` of requests. Without the
 * first, routes are `unmatched`; without the second, those of forked fibers are. Without the third, each measured request
 * adds a handler, as in other servers.
 */
import { currentPreResponseHandlers } from "@effect/platform/HttpApp"
import type * as Context from "effect/Context"
import * as FiberRef from "effect/FiberRef"
import type * as FiberRefs from "effect/FiberRefs"
import { version } from "../../core/util/build.js"
import { replacing } from "../../core/util/sharedMethods.js"
import type { AnyFiber } from "../fiber.js"
import { type Awaiting, type Handlers, preceded } from "./handlers.js"

type AnyContext = Context.Context<never>

/** While the request is answered. */
interface TrackedRoute<View> {
  /** How many measured apps have not ended. */
  readonly running: number
  /** What measures the request. */
  readonly by: ReadonlyArray<Awaiting>
  /** The context of a fiber that answers the request changes. */
  changes(before: AnyContext, after: AnyContext, own: View): void
}

/** The request that a fiber answers. */
interface Tracked<View> {
  readonly matched: TrackedRoute<View>
  readonly view: View
  readonly outer: Tracked<View> | undefined
}

export interface Tracking<View> {
  /** From now on, the contexts that the fiber enters are reported to the request, until it is released. */
  readonly track: (fiber: AnyFiber, view: View) => void
  /** The app has ended. */
  readonly release: (fiber: AnyFiber, matched: object) => void
}

// All copies of this version, as its ES modules and its CommonJS files, track the same requests.
const trackedKey: unique symbol = Symbol.for(`effect-prometheus/${version}/tracked`)

interface TrackedFiber extends AnyFiber {
  [trackedKey]?: Tracked<never> | undefined
}

type SetFiberRef = (this: TrackedFiber, ref: unknown, value: unknown) => void

const observeSetFiberRef = replacing<SetFiberRef>(
  "setFiberRef",
  "value",
  (original) =>
    function (ref, value) {
      const tracked = this[trackedKey]
      let set = value
      if (tracked !== undefined && ref === FiberRef.currentContext) {
        tracked.matched.changes(this.currentContext, value as AnyContext, tracked.view)
      } else if (tracked !== undefined && ref === currentPreResponseHandlers) {
        for (const each of tracked.matched.by) set = preceded(each, set as Handlers)
      }
      original.call(this, ref, set)
    }
)

// A fiber that answers no request by itself is never released.
const running = <View>(tracked: Tracked<View> | undefined): Tracked<View> | undefined =>
  tracked === undefined || tracked.matched.running > 0 ? tracked : running(tracked.outer)

/** `forked` is called where a fiber may be forked in a context. */
export const tracking = <View extends { readonly matched: TrackedRoute<View> }>(
  forked: (context: AnyContext) => void
): Tracking<View> => {
  const observeGetFiberRefs = replacing<(this: TrackedFiber) => FiberRefs.FiberRefs>(
    "getFiberRefs",
    "value",
    (original) =>
      function () {
        if (this[trackedKey] !== undefined) forked(this.currentContext)
        return original.call(this)
      }
  )
  return {
    track: (fiber, view) => {
      const tracked = fiber as { [trackedKey]?: Tracked<View> | undefined }
      const { matched } = view
      const known = tracked[trackedKey]
      if (known?.matched === matched) return
      tracked[trackedKey] = { matched, view, outer: running(known) }
      observeSetFiberRef(fiber)
      observeGetFiberRefs(fiber)
    },
    release: (fiber, matched) => {
      const tracked = fiber as { [trackedKey]?: Tracked<View> | undefined }
      const known = tracked[trackedKey]
      if (known?.matched === matched) tracked[trackedKey] = known.outer
    }
  }
}

/** Calls `asked` when a server of Node.js asks a request for its response. Returns whether that is possible. */
export const responseObserver = <Request extends object>(
  asked: (request: Request, answer: () => unknown) => unknown
): ((request: Request) => boolean) =>
  replacing<(this: Request) => unknown>(
    "resolvedResponse",
    "get",
    (original) =>
      function () {
        return asked(this, () => original.call(this))
      }
  )
