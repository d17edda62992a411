/** An endpoint as a listener for `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Endpoint } from "./endpoint.js"
import { answer } from "./endpoint.js"

/** Answers each request; `closing` says whether the connection is to end with it. */
export const listener =
  (endpoint: Endpoint, closing: () => boolean = () => false) =>
  (request: IncomingMessage, response: ServerResponse): void => {
    const question = {
      method: request.method ?? "GET",
      target: request.url ?? "/",
      accept: request.headers.accept,
      acceptEncoding: header(request.headers["accept-encoding"])
    }
    answer(endpoint, question).then(
      ({ status, headers, body }) => {
        if (response.headersSent || response.destroyed) return
        response.writeHead(status, closing() ? { ...headers, connection: "close" } : headers)
        response.end(question.method === "HEAD" ? undefined : body)
      },
      // What went wrong here is nothing that a scrape could do anything about, and nothing for the application to fall for.
      () => {
        if (!response.headersSent) response.writeHead(500)
        response.end()
      }
    )
  }

const header = (value: string | ReadonlyArray<string> | undefined): string | undefined =>
  typeof value === "object" ? value.join(",") : value
