import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"
import { Effect } from "effect"

/** A proxy that passes what is below `prefix` to that port without it, and answers anything else with 404. */
export const proxy = (prefix: string, port: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((incoming, response) => {
          const { headers, method, url = "" } = incoming
          if (!url.startsWith(prefix)) {
            response.writeHead(404).end()
            return
          }
          // A path without a slash at the end is that of the page as well.
          const path = url.slice(prefix.length) || "/"
          incoming.pipe(
            request({ host: "127.0.0.1", port, method, headers, path }, (answer) => {
              response.writeHead(answer.statusCode ?? 502, answer.headers)
              answer.pipe(response)
            })
          )
        }).listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => void server.close().closeAllConnections())
    ),
    (server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`
  )
