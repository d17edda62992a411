/** The headers that all responses of the library's own server have. */
import type { ServerSettings } from "./serverOptions.js"

type Headers = Readonly<Record<string, string>>

export interface ResponseHeaders {
  readonly each: Headers
  /** For a response after which the connection is closed. */
  readonly last: Headers
}

export const responseHeaders = (_settings: ServerSettings): ResponseHeaders => {
  // Browsers must not guess the content type.
  const each = { "x-content-type-options": "nosniff" }
  return { each, last: { ...each, connection: "close" } }
}
