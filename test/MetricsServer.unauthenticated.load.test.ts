import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { authority, selfSigned } from "./support/certificates.js"
import { fixture } from "./support/childProcess.js"
import { basic, bearer, hashOf } from "./support/credentials.js"
import { type AskOptions, ask } from "./support/httpClient.js"
import { inThisThread, serverKinds, someMetrics, started } from "./support/servers.js"
import { isFullSoak } from "./support/soak.js"
import { assertWithin, itInTime } from "./support/timing.js"

const token = "0123456789abcdef0123"
const password = "correct horse battery staple"
const scrapes = isFullSoak ? 30 : 10

interface Flood {
  readonly behaviour: string
  readonly count?: number
  readonly secured?: boolean
  /** Whether the server knows no passwords. */
  readonly onlyTokens?: boolean
}

const floods: ReadonlyArray<Flood> = [
  { behaviour: "the same guesses" },
  { behaviour: "guesses" },
  { behaviour: "guesses", count: 20 },
  { behaviour: "guesses", secured: true },
  { behaviour: "tokens", onlyTokens: true },
  { behaviour: "nothing" },
  { behaviour: "nothing", secured: true },
  { behaviour: "reconnects" },
  { behaviour: "large requests" },
  { behaviour: "large requests", secured: true },
  { behaviour: "many headers", count: 100 },
  { behaviour: "many headers" },
  { behaviour: "bodies in pieces" }
]

/** How much more memory of this process strangers may take, in MB: that of the garbage of both threads in it as well. */
const mostMemory = 250

/** How long a turn may take where it is that of the server, in milliseconds; a thousand handshakes may take longer. */
const longestTurn = 500

const strangers = (port: number, { behaviour, count = 1_000, secured = false }: Flood) =>
  Effect.acquireRelease(
    Effect.promise(async (): Promise<ChildProcess> => {
      const args = [String(port), secured ? "https" : "http", String(count), behaviour]
      const child = fork(fileURLToPath(fixture("unauthenticatedClients.mjs")), args, { execArgv: [] })
      await once(child, "message")
      return child
    }),
    (child) =>
      Effect.promise(async () => {
        const ended = once(child, "exit")
        if (child.kill("SIGKILL")) await ended
      })
  )

/** The longest turn of this thread, in milliseconds, and the most memory of this process, in MB, from now on. */
const watched = () => {
  const before = process.memoryUsage.rss()
  let [last, turn, rss] = [performance.now(), 0, before]
  const timer = setInterval(() => {
    const now = performance.now()
    turn = Math.max(turn, now - last - 5)
    last = now
    rss = Math.max(rss, process.memoryUsage.rss())
  }, 5)
  return () => {
    clearInterval(timer)
    return { turn, grown: (rss - before) / 1e6 }
  }
}

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name}`, () => {
    for (const flood of floods) {
      const { behaviour, count = 1_000, onlyTokens = false, secured = false } = flood
      const what = `${behaviour} over ${count} connections${secured ? " with TLS" : ""}`
      itInTime(
        `answers authenticated clients during ${what} of unauthenticated ones`,
        function* () {
          const own = yield* Effect.promise(() => selfSigned())
          const trusted = yield* authority()
          const client = yield* trusted.issue()
          const tls = secured ? { ...own, ca: trusted.cert, clientCertificate: "requested" as const } : undefined
          const users = onlyTokens ? {} : { scraper: hashOf(password) }
          const options = { tls, authentication: { tokens: [token], users } }
          const { address, url } = yield* started(kind, options, { registry: someMetrics() })
          const honest: Array<AskOptions> = [
            { headers: bearer(token) },
            ...(onlyTokens ? [] : [{ headers: basic("scraper", password) }]),
            ...(secured ? [{ headers: bearer(token), ...client }] : [])
          ].map((each) => (secured ? { ...each, ca: own.cert } : each))
          for (const each of honest) yield* Effect.promise(() => ask(url, each))
          const over = watched()
          const times = yield* Effect.scoped(
            Effect.zipRight(
              strangers(address.port, flood),
              Effect.promise(async () => {
                const taken: Array<number> = []
                for (let index = 0; index < scrapes; index += 1) {
                  const { milliseconds, status } = await ask(url, honest[index % honest.length])
                  assert.strictEqual(status, 200)
                  taken.push(milliseconds)
                  await sleep(30)
                }
                return taken
              })
            )
          )
          const { grown, turn } = over()
          console.log(
            `strangers ${kind.name}: ${what}; ${times.length} of ${scrapes} honest scrapes answered, the slowest in ` +
              `${Math.max(...times).toFixed(0)} ms; the longest turn of this thread ${turn.toFixed(0)} ms, ` +
              `${grown.toFixed(0)} MB more at most`
          )
          assertWithin(Math.max(...times), 10_000, "an honest scrape")
          assert.isBelow(grown, mostMemory)
          if (!secured && kind === inThisThread) assertWithin(turn, longestTurn, "a turn")
        },
        300_000
      )
    }
  })
}
