/** HTTP requests at the highest possible rate, sent by autocannon from a separate process. */
import { spawn } from "node:child_process"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { createRequire } from "node:module"
import type { AddressInfo } from "node:net"

export const host = "127.0.0.1"

/** The number of responses per second from that URL, over that number of keep-alive connections. */
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
      if (errors !== 0 || non2xx !== 0 || !answered || !duration) reject(new Error(`some requests failed: ${output}`))
      else resolve(answered / duration)
    })
  })

/** A plain server of Node.js. */
export const plainServer = async (handler: (request: IncomingMessage, response: ServerResponse) => unknown) => {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return { url: `http://${host}:${(server.address() as AddressInfo).port}/metrics`, close: () => server.close() }
}
