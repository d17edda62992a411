import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { assert, describe } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Counter } from "prom-client"
import { fixture } from "./support/childProcess.js"
import { type Answer, eventually, get } from "./support/httpClient.js"
import { type ServerKind, serverKinds, someMetrics, started } from "./support/servers.js"
import { isFullSoak } from "./support/soak.js"
import { assertInTime, itInTime } from "./support/timing.js"

const slow = 500
const rounds = isFullSoak ? 5 : 3

/** Of each phase, in milliseconds; those with slow connections follow one another, the others are before and after. */
const phase = isFullSoak ? 4_000 : 1_000

/** A process that talks to this one, and ends with the scope. */
const forked = (name: string, args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => fork(fileURLToPath(fixture(name)), args, { execArgv: [] })),
    (process) =>
      Effect.promise(async () => {
        const ended = once(process, "exit")
        if (process.kill("SIGKILL")) await ended
      })
  )

const said = <A>(process: ChildProcess): Effect.Effect<A> =>
  Effect.promise(async () => {
    const [message] = await once(process, "message")
    return message as A
  })

/** The application's own server. */
const application = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer((_, response) => response.end("hello\n")).listen(0, "127.0.0.1")
    await once(server, "listening")
    return server
  }),
  (server) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
)

const sampled = (client: ChildProcess): Effect.Effect<ReadonlyArray<number>> =>
  Effect.suspend(() => {
    client.send(phase)
    return said<ReadonlyArray<number>>(client)
  })

/** A scrape a second, each of which must be answered. */
const scraped = (url: string): Effect.Effect<ReadonlyArray<Answer>> =>
  Effect.forEach(Array.from({ length: phase / 1_000 }), () => Effect.tap(get(url), () => Effect.sleep("900 millis")))

const quantile = (samples: ReadonlyArray<number>, q: number): number =>
  [...samples].sort((one, other) => one - other)[Math.floor(q * samples.length)] ?? Number.NaN

/** The median of the rounds: what else happens on the machine is not in most of them. */
const p99 = (phases: ReadonlyArray<ReadonlyArray<number>>): number =>
  quantile(
    phases.map((samples) => quantile(samples, 0.99)),
    0.5
  )

interface Slow {
  readonly open: number
  readonly bytes: number
}

/** Clients that take their time, once all of them are there. */
const slowClients = (port: number) =>
  Effect.gen(function* () {
    const clients = yield* forked("slowClients.mjs", [String(port), String(slow)])
    const seen: Array<Slow> = []
    clients.on("message", (message: Slow) => seen.push(message))
    yield* eventually("all of them are connected", async () => seen.at(-1)?.open === slow)
    return seen
  })

/** The application and its scrapes without slow connections, beside them, and without them again. */
const compared = (kind: ServerKind) =>
  Effect.gen(function* () {
    const registry = someMetrics()
    const counter = new Counter({ name: "rooms_total", help: "h", labelNames: ["room"], registers: [registry] })
    for (let room = 0; room < 1_000; room += 1) counter.inc({ room })
    const server = yield* started(kind, {}, { registry })
    const own = yield* application
    const client = yield* forked("latencyProbe.mjs", [`http://127.0.0.1:${(own.address() as AddressInfo).port}/`])
    yield* said(client)
    const answers: Array<Answer> = []
    const measured = (times: number) =>
      Effect.forEach(Array.from({ length: times }), () =>
        Effect.gen(function* () {
          const scraping = yield* Effect.fork(scraped(server.url))
          const samples = yield* sampled(client)
          answers.push(...(yield* Fiber.join(scraping)))
          return samples
        })
      )
    const before = yield* measured(Math.ceil(rounds / 2))
    const { beside, bytes, fewest } = yield* Effect.scoped(
      Effect.gen(function* () {
        const seen = yield* slowClients(server.address.port)
        const first = seen.length
        const samples = yield* measured(rounds)
        const fewest = Math.min(...seen.slice(first).map(({ open }) => open))
        return { beside: samples, fewest, bytes: seen.at(-1)?.bytes ?? 0 }
      })
    )
    const without = [...before, ...(yield* measured(Math.floor(rounds / 2)))]
    return { answers, beside, bytes, fewest, without }
  })

for (const kind of serverKinds) {
  describe(`${slow} connections to a metrics server ${kind.name} that take a second for each byte`, () => {
    itInTime(
      "keep no scrape from its answer, and the application's own server as fast as it was",
      function* () {
        const { answers, beside, bytes, fewest, without } = yield* compared(kind)
        const ratio = p99(beside) / p99(without)
        for (const { body, status } of answers) {
          assert.strictEqual(status, 200)
          assert.include(body, 'rooms_total{room="999"} 1\n')
        }
        const slowest = Math.max(...answers.map(({ milliseconds }) => milliseconds))
        console.log(
          `slow ${kind.name}: ${slow} connections (${fewest} at the fewest), ${bytes} bytes of theirs in ` +
            `${(rounds * phase) / 1e3} s on end; ${answers.length} scrapes answered, the slowest in ${slowest.toFixed(0)} ms; ` +
            `p99 of the application ${p99(without).toFixed(2)} ms without and ${p99(beside).toFixed(2)} ms with them, ` +
            `${ratio.toFixed(2)} x (${without.flat().length} and ${beside.flat().length} requests, medians of ${rounds} rounds)`
        )
        assert.isAtLeast(answers.length, (2 * rounds * phase) / 1e3)
        assertInTime(bytes > (slow * rounds * phase) / 4_000, `${bytes} bytes`)
        assertInTime(fewest > 0.9 * slow, `${fewest} connections`)
        assertInTime(ratio <= 2, `${ratio} times as long`)
      },
      900_000
    )
  })
}
