import { connect } from "node:net"
import { setImmediate as nextTurn } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import type { Gauge } from "prom-client"
import { anySent, type Sent } from "./support/arbitraryRequests.js"
import { contentTypes, parsers } from "./support/expositions.js"
import { type Answer, ask, eventually } from "./support/httpClient.js"
import { type ParsedResponses, parseResponses } from "./support/httpResponseParser.js"
import { serverKinds, someMetrics, started } from "./support/servers.js"
import { soak } from "./support/soak.js"
import { patience } from "./support/timing.js"

const count = soak(20_000)
const atOnce = 200

/** Of the server; a connection is looked after as often as the first of them says. */
const timeouts = { headersTimeout: 300, requestTimeout: 600 }

/** For so long nothing more has come. */
const quiet = 25

interface Outcome extends ParsedResponses {
  readonly isClosed: boolean
}

/** What comes of it: all that was answered, until the connection is closed or nothing more comes. */
const outcomeOf = ({ end, pieces }: Sent, port: number): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    const mayBeHead = pieces.join("").includes("HEAD")
    const parts: Array<Buffer> = []
    const socket = connect(port, "127.0.0.1")
    let silence: NodeJS.Timeout | undefined
    const read = (): ParsedResponses | undefined => {
      try {
        return parseResponses(Buffer.concat(parts), mayBeHead)
      } catch (error) {
        reject(error)
      }
      return undefined
    }
    const over = (isClosed: boolean): void => {
      clearTimeout(late)
      clearTimeout(silence)
      socket.destroy()
      const all = read()
      if (all !== undefined) resolve({ ...all, isClosed })
    }
    // It has until then to answer or to close the connection, with much to do at the same time.
    const late = setTimeout(() => {
      socket.destroy()
      reject(new Error(`neither answered nor closed: ${Buffer.concat(parts).toString("latin1").slice(-200)}`))
    }, patience)
    socket.on("data", (part) => {
      parts.push(part)
      clearTimeout(silence)
      silence = setTimeout(() => {
        if (read()?.rest === "") over(false)
      }, quiet)
    })
    socket.on("error", () => {})
    socket.on("close", () => over(true))
    socket.on("connect", async () => {
      for (const piece of pieces) {
        if (socket.destroyed) return
        socket.write(piece, "latin1")
        if (pieces.length > 1) await nextTurn()
      }
      if (end === "ends") socket.end()
      if (end === "leaves") socket.destroy()
    })
  })

const possibleBodies = [
  "Bad request\n",
  "Not found\n",
  "Method not allowed\n",
  "Too many headers: a request may have at most 100\n",
  "Misdirected request: the requested host is not allowed. Add it to the option allowedHosts, or have the proxy send Host: localhost\n"
]

const isInFlight = /^\d+ scrapes are already in flight \(maxScrapesInFlight\)\n$/

const assertSound = ({ answers, isClosed, isLast, rest }: Outcome): void => {
  // A connection may be closed for what comes next while an answer is on its way.
  if (!isClosed) assert.strictEqual(rest, "")
  if (isLast) assert.strictEqual(rest, "")
  for (const { body, headers, status } of answers) {
    assert.notMatch(body, /\n\s+at |node:internal|\.[jt]s:\d/)
    const type = headers.get("content-type")
    if (status === 200) {
      if (body !== "" && type === contentTypes.openmetrics) parsers.openmetrics(body)
      else if (body !== "" && type === contentTypes.text) parsers.text(body)
      else assert.include([...Object.values(contentTypes), "text/html; charset=utf-8"], type)
    } else if (status === 503)
      assert.match(body || "1 scrapes are already in flight (maxScrapesInFlight)\n", isInFlight)
    else {
      assert.isTrue(status >= 400 && status < 500, String(status))
      if (body !== "") assert.include(possibleBodies, body)
    }
  }
}

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name}`, () => {
    it.scopedLive(
      `gives ${count} generated and mutated requests a well-formed answer or a closed connection, and goes on serving`,
      () =>
        Effect.gen(function* () {
          const registry = someMetrics()
          // As many as there are connections, so that no request gets 429.
          const server = yield* started(kind, { ...timeouts, maxScrapesInFlight: 1_000 }, { registry })
          const { port } = server.address
          const seed = 20_260_101
          const sent = fc.sample(anySent, { numRuns: count, seed })
          const statuses = new Map<number | "closed", number>()
          const honest: Array<Answer> = []
          const noted = (status: number | "closed"): void => void statuses.set(status, (statuses.get(status) ?? 0) + 1)
          let next = 0
          const sending = async (): Promise<void> => {
            for (let index = next++; index < count; index = next++) {
              const each = sent[index] as Sent
              const outcome = await outcomeOf(each, port)
                .then((read) => {
                  assertSound(read)
                  return read
                })
                .catch((error) => {
                  throw new Error(`${JSON.stringify(each).slice(0, 4_000)}: ${error}`, { cause: error })
                })
              for (const { status } of outcome.answers) noted(status)
              if (outcome.answers.length === 0) noted("closed")
              if (index % 500 === 499) honest.push(await ask(server.url))
            }
          }
          const start = performance.now()
          yield* Effect.promise(() => Promise.all(Array.from({ length: atOnce }, sending)))
          const seconds = (performance.now() - start) / 1e3
          for (const { body, status } of honest) {
            assert.strictEqual(status, 200)
            assert.include(body, "jobs_total 3\n")
          }
          // Nothing is left of all that.
          yield* eventually("no scrape is in flight", async () => {
            const { values } = await (registry.getSingleMetric("effect_prometheus_scrapes_in_flight") as Gauge).get()
            return values[0]?.value === 0
          })
          const last = yield* Effect.promise(() => ask(server.url))
          assert.include(last.body, "jobs_total 3\n")
          assert.deepStrictEqual(
            server.lines.filter(({ level }) => level !== "INFO"),
            []
          )
          const answered = [...statuses].sort().map(([status, times]) => `${status}: ${times}`)
          const slowest = Math.max(...honest.map(({ milliseconds }) => milliseconds))
          console.log(
            `requests ${kind.name}: ${count} sent (seed ${seed}) in ${seconds.toFixed(0)} s, ${answered.join(", ")}; ` +
              `${honest.length} honest scrapes in between, the slowest in ${slowest.toFixed(0)} ms; ` +
              `the next one in ${last.milliseconds.toFixed(0)} ms`
          )
        }),
      900_000
    )
  })
}
