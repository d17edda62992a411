/** What the exit of an application says of the response that was sent. */

import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import {
  type AnyResponse,
  causeResponse,
  causeResponseStripped,
  isClientAbort,
  isResponseError,
  isRouteNotFound
} from "../../compat/http/platform.js"
import { failuresOf, isInterruptedOnly } from "../bothMajors.js"
import { contentLength } from "./request.js"

/** The first response could not be written, or its body failed or was interrupted. */
export const brokenStatus = (exit: Exit.Exit<AnyResponse, unknown> | undefined): number => {
  if (exit === undefined) return 500
  // The platform returns the response whose body was interrupted. A middleware that recovers returns another one.
  if (Exit.isSuccess(exit)) return exit.value.body._tag === "Stream" ? 503 : 500
  const [response, cause] = causeResponseStripped(exit.cause)
  if (Option.exists(cause, isInterruptedOnly)) return isClientAbort(exit.cause) ? 499 : 503
  return Math.max(response.status, 500)
}

/**
 * The response to a failure, and whether it was another failure, that of the body of this response. No second response is
 * written if the first one is already that of an error.
 */
export const answers = (
  cause: Cause.Cause<unknown>
): Effect.Effect<{ readonly sent: AnyResponse; readonly isOfBody: boolean }> => {
  const [, own] = causeResponseStripped(cause)
  return Effect.zipWith(
    causeResponse(cause),
    causeResponse(Option.getOrElse(own, () => cause)),
    ([sent], [expected]) => ({ sent, isOfBody: expected.status !== sent.status && Option.exists(own, canBeOfBody) })
  )
}

const canBeOfBody = (cause: Cause.Cause<unknown>): boolean => failuresOf(cause).every(isResponseError)

export const isNotFound = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && failuresOf(exit.cause).some(isRouteNotFound)

export const bodyBytes = ({ body, headers }: AnyResponse): number | undefined => {
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
