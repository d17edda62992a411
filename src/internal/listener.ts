/** An endpoint as a listener for `node:http`. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Answer, Endpoint } from "./endpoint.js"
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
    const write = ({ status, headers, body }: Answer): void => {
      if (response.headersSent || response.destroyed) return
      response.writeHead(status, closing() ? { ...headers, connection: "close" } : headers)
      response.end(question.method === "HEAD" ? undefined : body)
    }
    // What can still go wrong, here or in what an application has put around the response, is nothing for it to fall for.
    answer(endpoint, question)
      .catch(() => failure)
      .then(write)
      .catch(() => response.destroy())
  }

const failure: Answer = { status: 500, headers: { "content-length": "0" }, body: new Uint8Array() }

const header = (value: string | ReadonlyArray<string> | undefined): string | undefined =>
  typeof value === "object" ? value.join(",") : value
