/**
 * The requests, responses and errors of the HTTP server.
 *
 * The names of properties and services were tested with @effect/platform 0.97.
 */
import type * as HttpApp from "@effect/platform/HttpApp"
import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import type { RouteContext } from "@effect/platform/HttpRouter"
import * as HttpServerError from "@effect/platform/HttpServerError"
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { AnyFiber } from "../fiber.js"

export type { RouteContext } from "@effect/platform/HttpRouter"
export type { HttpServerRequest } from "@effect/platform/HttpServerRequest"

export type AnyResponse = HttpServerResponse.HttpServerResponse

export type App<E, R> = HttpApp.Default<E, R>

export type Router = HttpLayerRouter.HttpRouter

type AnyContext = Context.Context<never>

const requestKey = "@effect/platform/HttpServerRequest"

export const requestIn = ({ unsafeMap }: AnyContext): HttpServerRequest | undefined => unsafeMap.get(requestKey)

export const routeIn = ({ unsafeMap }: AnyContext): RouteContext | undefined =>
  unsafeMap.get("@effect/platform/HttpRouter/RouteContext")

export const scopeIn = ({ unsafeMap }: AnyContext): Scope.Scope | undefined => unsafeMap.get(Scope.Scope.key)

export const prefixOf = ({ prefix }: RouteContext["route"]): string => Option.getOrElse(prefix, () => "")

export const emptyResponse = (status?: number): AnyResponse =>
  HttpServerResponse.empty(status === undefined ? {} : { status })

export const withBodyStream = (
  response: AnyResponse,
  { contentLength, contentType }: Pick<HttpBody.Stream, "contentLength" | "contentType">,
  stream: Stream.Stream<Uint8Array, unknown>
): AnyResponse => HttpServerResponse.setBody(response, HttpBody.stream(stream, contentType, contentLength))

interface BodyObserver {
  readonly wrote: ((bytes: number) => void) | undefined
  readonly failed: (cause: Cause.Cause<unknown>) => void
  readonly ended: (exit: Exit.Exit<unknown, unknown>) => void
}

/** `failed` is called for failures of the stream itself. */
export const observedBody = <E>(
  stream: Stream.Stream<Uint8Array, E>,
  { ended, failed, wrote }: BodyObserver
): Stream.Stream<Uint8Array, E> => {
  const watched = Stream.tapErrorCause(stream, (cause) => Effect.sync(() => failed(cause)))
  const counted =
    wrote === undefined
      ? watched
      : Stream.mapChunks(watched, (chunk) => {
          wrote(Chunk.reduce(chunk, 0, (bytes, part) => bytes + part.length))
          return chunk
        })
  return Stream.ensuringWith(counted, (exit) => Effect.sync(() => ended(exit)))
}

export const { causeResponse, causeResponseStripped } = HttpServerError

export const isRouteNotFound = (error: unknown): boolean =>
  HttpServerError.isServerError(error) && error._tag === "RouteNotFound"

export const isResponseError = (error: unknown): boolean =>
  HttpServerError.isServerError(error) && error._tag === "ResponseError"

/** The interruption of a request whose client has closed the connection. */
export const clientAbort: Cause.Cause<never> = Cause.interrupt(HttpServerError.clientAbortFiberId)

export const isClientAbort = (cause: Cause.Cause<unknown>): boolean =>
  HashSet.has(Cause.interruptors(cause), HttpServerError.clientAbortFiberId)

/** With what the fiber was interrupted, if it was. */
export const interruptionOf = (fiber: AnyFiber): Cause.Cause<unknown> => fiber.getFiberRef(FiberRef.interruptedCause)

/** The property of a web request by which its response is returned. */
export const resolveKey = Symbol.for("@effect/platform/HttpApp/resolve")

/** The property of a request whose response was written. */
export const handledKey = Symbol.for("@effect/platform/HttpApp/handled")
