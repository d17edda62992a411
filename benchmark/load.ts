/** Requests over HTTP, as many as can be answered: autocannon asks, from a process of its own. */
import { spawn } from "node:child_process"
import type { IncomingMessage, ServerResponse } from "node:http"
import { createServer } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"

export const host = "127.0.0.1"

/** How many a second were answered at that URL, on so many connections that stay open. */
export const perSecond = (url: string, connections: number): Promise<number> =>
  new Promise((resolve, reject) => {
    const program = createRequire(import.meta.url).resolve("autocannon")
    const args = [program, "--json", "--no-progress", "--connections", String(connections), "--duration", "2", url]
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
    let output = ""
    child.stdout.on("data", (chunk) => {
      output += chunk
    })
    child.once("error", reject)
    child.once("close", () => {
      const { errors, non2xx, duration, "2xx": answered } = JSON.parse(output) as Record<string, number>
      if (errors !== 0 || non2xx !== 0 || !answered || !duration)
        reject(new Error(`not every request went well: ${output}`))
      else resolve(answered / duration)
    })
  })

/** A server of Node.js with nothing around it. */
export const plainServer = async (handler: (request: IncomingMessage, response: ServerResponse) => unknown) => {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return { url: `http://${host}:${(server.address() as AddressInfo).port}/metrics`, close: () => server.close() }
}
