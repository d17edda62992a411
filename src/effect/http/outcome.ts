/** What the exit of an application says of the response that was sent. */
import * as HttpServerError from "@effect/platform/HttpServerError"
import type { HttpServerResponse } from "@effect/platform/HttpServerResponse"
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HashSet from "effect/HashSet"
import * as Option from "effect/Option"
import { contentLength } from "./request.js"

/** The first response could not be written, or its body failed or was interrupted. */
export const brokenStatus = (exit: Exit.Exit<HttpServerResponse, unknown> | undefined): number => {
  if (exit === undefined) return 500
  // The platform returns the response whose body was interrupted. A middleware that recovers returns another one.
  if (Exit.isSuccess(exit)) return exit.value.body._tag === "Stream" ? 503 : 500
  const [response, cause] = HttpServerError.causeResponseStripped(exit.cause)
  if (Option.exists(cause, Cause.isInterruptedOnly)) return isByClient(exit.cause) ? 499 : 503
  return Math.max(response.status, 500)
}

/**
 * The response to a failure, and whether it was another failure, that of the body of this response. No second response is
 * written if the first one is already that of an error.
 */
export const answers = (
  cause: Cause.Cause<unknown>
): Effect.Effect<{ readonly sent: HttpServerResponse; readonly isOfBody: boolean }> => {
  const [, own] = HttpServerError.causeResponseStripped(cause)
  return Effect.zipWith(
    HttpServerError.causeResponse(cause),
    HttpServerError.causeResponse(Option.getOrElse(own, () => cause)),
    ([sent], [expected]) => ({ sent, isOfBody: expected.status !== sent.status && Option.exists(own, canBeOfBody) })
  )
}

const canBeOfBody = (cause: Cause.Cause<unknown>): boolean =>
  Chunk.every(Cause.failures(cause), (error) => HttpServerError.isServerError(error) && error._tag === "ResponseError")

export const isNotFound = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  Chunk.some(
    Cause.failures(exit.cause),
    (error) => HttpServerError.isServerError(error) && error._tag === "RouteNotFound"
  )

export const isByClient = (cause: Cause.Cause<unknown>): boolean =>
  HashSet.has(Cause.interruptors(cause), HttpServerError.clientAbortFiberId)

export const bodyBytes = ({ body, headers }: HttpServerResponse): number | undefined => {
  switch (body._tag) {
    case "Empty":
      return 0
    case "Uint8Array":
      return body.body.byteLength
    case "Raw": {
      if (typeof body.body === "string") return Buffer.byteLength(body.body)
      if (body.body instanceof Uint8Array) return body.body.byteLength
      return body.contentLength ?? contentLength(headers["content-length"])
    }
    default:
      return undefined
  }
}
