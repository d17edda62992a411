/** The handlers that are called right before a response is written. */
import { appendPreResponseHandler, currentPreResponseHandlers, type PreResponseHandler } from "@effect/platform/HttpApp"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import { recordersOf } from "../../core/http/scrapeMarker.js"
import type { AnyFiber } from "../fiber.js"
import type { AnyResponse } from "./platform.js"

export type Handlers = Option.Option<PreResponseHandler>

/** What is called before a response is written. */
export interface Awaiting {
  /** Observes the response of Node.js instead. */
  isDirect: boolean
  /** Its handler is called before those of the application. */
  isPreceding: boolean
  /** The response is being written. */
  readonly isBegun: boolean
  /** Whether the handler of all requests calls it. */
  isAwaitedWithAll: boolean
  /** Whether it is found by the object that the server knows. */
  readonly isFound: boolean
  /** Gives the response that is written instead. */
  writing(request: HttpServerRequest, response: AnyResponse): Effect.Effect<AnyResponse>
}

/** Whether handlers were added in the fiber. */
export const hasHandlers = (fiber: AnyFiber): boolean => Option.isSome(fiber.getFiberRef(currentPreResponseHandlers))

/**
 * The handler is the same function for all requests: Effect compares handlers by a hash, and would keep the hash of each
 * function in a table.
 */
const writing = (request: HttpServerRequest, response: AnyResponse): Effect.Effect<AnyResponse> => {
  const { source } = request
  let written: Effect.Effect<AnyResponse> | undefined
  for (const recorder of typeof source === "object" && source !== null ? recordersOf(source) : []) {
    const run = recorder as Partial<Awaiting> as Awaiting
    if (run.isAwaitedWithAll !== true) continue
    written =
      written === undefined ? run.writing(request, response) : Effect.flatMap(written, (r) => run.writing(request, r))
  }
  return written ?? Effect.succeed(response)
}

const onlyWriting = Option.some(writing)

/** Adds the handler to those of the fiber, as `HttpApp.appendPreResponseHandler` does, unless the run needs none. */
export const awaitingResponse = <A, E, R>(
  fiber: AnyFiber,
  run: Awaiting,
  app: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  if (run.isDirect) return app
  const before = Option.getOrUndefined(fiber.getFiberRef(currentPreResponseHandlers))
  const isAlone = before === undefined || before === writing
  if (isAlone && run.isFound && (before === writing || setRef(fiber, currentPreResponseHandlers, onlyWriting))) {
    run.isAwaitedWithAll = true
    return app
  }
  // After the handlers of others, it is called once for each of ours.
  const own = (request: HttpServerRequest, response: AnyResponse) => run.writing(request, response)
  return Effect.zipRight(appendPreResponseHandler(own), app)
}

/**
 * The application adds handlers. They may replace the response, fail or never end, so that the one of a run that observes
 * the response of Node.js is to be called first. Gives the handlers that are set instead.
 */
export const preceded = (run: Awaiting, handlers: Handlers): Handlers => {
  const isNeeded = run.isDirect && !run.isPreceding && !run.isBegun && handlers !== onlyWriting
  if (!isNeeded || Option.isNone(handlers)) return handlers
  run.isPreceding = true
  return Option.map(
    handlers,
    (others) => (request, response) =>
      Effect.flatMap(run.writing(request, response), (written) => others(request, written))
  )
}

/** The app of a run that observes the response of Node.js has ended. Handlers of others may have got lost since. */
export const restored = <A, E, R>(
  fiber: AnyFiber,
  run: Awaiting,
  next: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  // The response is written by code around the app, to which another request may be known.
  const handlers = fiber.getFiberRef(currentPreResponseHandlers)
  if (Option.isSome(handlers)) {
    return Effect.zipRight(FiberRef.set(currentPreResponseHandlers, preceded(run, handlers)), next)
  }
  run.isDirect = false
  return awaitingResponse(fiber, run, next)
}

/** Whether the reference was set at once, instead of by an effect. */
const setRef = <A>(fiber: AnyFiber, ref: FiberRef.FiberRef<A>, value: A): boolean => {
  const { setFiberRef } = fiber as { readonly setFiberRef?: unknown }
  if (typeof setFiberRef !== "function") return false
  setFiberRef.call(fiber, ref, value)
  return true
}
