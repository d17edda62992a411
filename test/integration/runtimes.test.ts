import { spawn } from "node:child_process"
import { Agent } from "node:http"
import { Agent as SecureAgent } from "node:https"
import { connect } from "node:net"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describeWith } from "../support/binaries.js"
import { certificate } from "../support/certificates.js"
import { fixture } from "../support/childProcess.js"
import { ask, eventually, rawConnection, requestLines } from "../support/httpClient.js"
import { patience } from "../support/timing.js"

const token = "0123456789abcdef0123"
const bearer = { authorization: `Bearer ${token}` }
const fast = "/metrics?name[]=jobs_total"

/** What comes after the request line, the host and who asks. */
const odd: ReadonlyArray<{
  readonly method: string
  readonly headers?: string
  readonly rest?: string
  readonly version?: string
}> = [
  { method: "POST", headers: "Content-Length: 5\r\n" },
  { method: "POST", headers: "Content-Length: 5\r\n", rest: "hello" },
  { method: "GET", headers: "Content-Length: 5\r\n", rest: "hello" },
  { method: "POST", headers: "Transfer-Encoding: chunked\r\n", rest: "5\r\nhello\r\n" },
  { method: "GET", headers: "Connection: Upgrade\r\nUpgrade: websocket\r\n" },
  { method: "GET", headers: "Connection: Upgrade\r\nUpgrade: websocket\r\n", rest: "hello" },
  { method: "CONNECT" },
  { method: "GET", headers: "Host: other\r\n" },
  { method: "GET", headers: "Host: other\r\n", rest: "hello" },
  { method: "GET", version: "HTTP/2.0" },
  { method: "GET", version: "HTTP/0.9" },
  { method: "GET", headers: "X: y\r\n".repeat(101) }
]

/** An application that serves until its input ends. */
interface Application {
  readonly port: number
  /** Ends its input, and waits for its end: the code that it ended with. */
  readonly end: Effect.Effect<number | null>
}

const application = (file: string, args: ReadonlyArray<string>, way: string, given: object) => {
  // A busy machine can stop a process for a second: the worker waits for it.
  const options = way === "startHttpServerInThread" ? { grace: "20 seconds", ...given } : given
  return Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<Application & { readonly kill: () => void }>((resolve, reject) => {
          const child = spawn(
            file,
            [...args, fileURLToPath(fixture("runtimeServer.mjs")), way, JSON.stringify(options)],
            {
              timeout: 4 * patience,
              killSignal: "SIGKILL"
            }
          )
          let written = ""
          const ended = new Promise<number | null>((over) => child.once("close", over))
          child.once("error", reject)
          child.stderr.on("data", (part) => {
            written += part
          })
          child.stdout.on("data", (part) => {
            const line = /^\{.*\}$/m.exec(String(part))
            if (line === null) return
            const end = Effect.promise(() => {
              child.stdin.end()
              return ended
            })
            resolve({ ...(JSON.parse(line[0]) as { readonly port: number }), end, kill: () => child.kill("SIGKILL") })
          })
          void ended.then((code) => reject(new Error(`it ended with ${code}: ${written}`)))
        })
    ),
    ({ kill }) => Effect.sync(kill)
  )
}

const ways = ["startHttpServer", "startHttpServerInThread"]

const runtimes = { bun: [], deno: ["run", "--allow-all"] }

for (const name of ["bun", "deno"] as const) {
  describeWith([name], `the metrics server on ${name}`, (found) => {
    for (const way of ways) {
      for (const isSecure of [false, true]) {
        const over = isSecure ? "HTTPS" : "HTTP"
        it.scopedLive(`answers over ${over}, refuses, closes and ends (${way})`, () =>
          Effect.gen(function* () {
            const own = yield* certificate
            const tls = isSecure ? { tls: own } : {}
            const options = { authentication: { tokens: [token] }, ...tls }
            const { end, port } = yield* application(found[name], runtimes[name], way, options)
            const agent = isSecure
              ? new SecureAgent({ keepAlive: true, maxSockets: 1 })
              : new Agent({ keepAlive: true, maxSockets: 1 })
            yield* Effect.addFinalizer(() => Effect.sync(() => agent.destroy()))
            const asked = (path: string, headers: Readonly<Record<string, string>>) =>
              Effect.promise(() =>
                ask(`${isSecure ? "https" : "http"}://127.0.0.1:${port}${path}`, { agent, headers, ca: own.cert })
              )
            const rows: ReadonlyArray<readonly [path: string, headers: Record<string, string>, status: number]> = [
              [fast, bearer, 200],
              ["/", bearer, 200],
              ["/nowhere", bearer, 404],
              [fast, {}, 401],
              [fast, { authorization: "Bearer wrong" }, 401],
              [fast, { authorization: `Basic ${btoa("user:wrong")}` }, 401]
            ]
            for (const [path, headers, status] of [...rows, ...rows]) {
              const answer = yield* asked(path, headers)
              assert.strictEqual(answer.status, status, path)
              assert.strictEqual(answer.headers.connection === "close", status === 401)
            }
            for (let scrape = 0; scrape < 100; scrape += 1) {
              const answer = yield* asked(fast, bearer)
              assert.include(answer.body, "\njobs_total 3\n")
              assert.strictEqual(answer.reused, scrape > 0)
            }
            assert.strictEqual(yield* end, 0)
          })
        )
      }

      it.scopedLive(`gives the places of scrapes back whose clients have left (${way})`, () =>
        Effect.gen(function* () {
          const options = { maxScrapesInFlight: 2, selfMetrics: false, scrapeTimeout: "10 minutes" }
          const { end, port } = yield* application(found[name], runtimes[name], way, options)
          const status = () => ask(`http://127.0.0.1:${port}${fast}`).then((answer) => answer.status)
          const leaving = [yield* rawConnection(port), yield* rawConnection(port)]
          for (const { send } of leaving) send(requestLines("/metrics"))
          yield* eventually("both are in flight", async () => (await status()) === 503)
          for (const { socket } of leaving) socket.destroy()
          yield* eventually("their places are free", async () => (await status()) === 200)
          assert.strictEqual(yield* end, 0)
        })
      )

      it.scopedLive(`keeps serving after requests with bodies, for other protocols, and malformed ones (${way})`, () =>
        Effect.gen(function* () {
          const options = { authentication: { tokens: [token] } }
          const { end, port } = yield* application(found[name], runtimes[name], way, options)
          const sent = ["", `Authorization: ${bearer.authorization}\r\n`].flatMap((who) =>
            odd.map(({ headers = "", method, rest = "", version = "HTTP/1.1" }) => {
              const target = method === "CONNECT" ? "localhost:443" : fast
              return `${method} ${target} ${version}\r\nHost: localhost\r\n${who}${headers}\r\n${rest}`
            })
          )
          sent.push(`GET ${fast} HTTP/1.1\r\n\r\n`, `GET ${fast}\r\n\r\n`)
          for (const text of sent) {
            const { closed, received, send, socket } = yield* rawConnection(port)
            send(text)
            assert.match(yield* received((answer) => answer.includes("\r\n\r\n")), /^HTTP\/1\.1 \d{3} /, text)
            socket.destroy()
            yield* closed
            const { status } = yield* Effect.promise(() => ask(`http://127.0.0.1:${port}${fast}`, { headers: bearer }))
            assert.strictEqual(status, 200, text)
          }
          assert.strictEqual(yield* end, 0)
        })
      )

      it.scopedLive(`keeps serving after a client that ends its side with its request (${way})`, () =>
        Effect.gen(function* () {
          const { end, port } = yield* application(found[name], runtimes[name], way, {})
          yield* Effect.promise(
            () =>
              new Promise((resolve) => {
                const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
                socket.end(requestLines(fast))
                socket
                  .resume()
                  .once("close", resolve)
                  .once("end", () => socket.destroy())
              })
          )
          const { status } = yield* Effect.promise(() => ask(`http://127.0.0.1:${port}${fast}`))
          assert.strictEqual(status, 200)
          assert.strictEqual(yield* end, 0)
        })
      )
    }
  })
}
