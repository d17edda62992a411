import { createServer, request } from "node:http"
import { Effect } from "effect"
import { listen } from "./listen.js"

/** A proxy that forwards paths below `prefix` to that port without the prefix, and answers others with 404. */
export const proxy = (prefix: string, port: number) =>
  listen(
    createServer((incoming, response) => {
      const { headers, method, url = "" } = incoming
      if (!url.startsWith(prefix)) {
        response.writeHead(404).end()
        return
      }
      // The prefix without a slash is a path of the page as well.
      const path = url.slice(prefix.length) || "/"
      incoming.pipe(
        request({ host: "127.0.0.1", port, method, headers, path }, (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(response)
        })
      )
    })
  ).pipe(Effect.map((own) => `http://127.0.0.1:${own}${prefix}`))
