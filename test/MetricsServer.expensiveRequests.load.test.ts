/** Requests of strangers that are cheap to send: each must take next to no time of the thread that reads it. */
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { bearer, hashOf } from "./support/credentials.js"
import { ask } from "./support/httpClient.js"
import { inThisThread, serverKinds, someMetrics, started } from "./support/servers.js"
import { assertWithin, itInTime } from "./support/timing.js"

const token = "0123456789abcdef0123"
const connections = 300

/** How much more memory of this process they may take, in MB. */
const mostMemory = 300

const basicOf = (text: string): string => `Authorization: Basic ${Buffer.from(text).toString("base64")}\r\n`

// To bring them into order takes the square of their number: those of each kind are after those of the other one.
const accents = `a${"\u0301".repeat(2_900)}${"\u0316".repeat(2_900)}`
const inOrder = `a${"\u0316".repeat(2_900)}${"\u0301".repeat(2_900)}`
const letters = Array.from({ length: 1_700 }, (_, index) => String.fromCodePoint(0x4e00 + index)).join("")

interface Row {
  readonly title: string
  readonly target?: string
  readonly headers: string
  /** What follows the first request in the same packet. */
  readonly rest?: string
  /** NaN: the connection is closed without an answer. */
  readonly status: number
}

const rows: ReadonlyArray<Row> = [
  { title: "a password of accents in disorder", headers: basicOf(`scraper:${accents}`), status: 401 },
  { title: "a user of accents in disorder", headers: basicOf(`${accents}:x`), status: 401 },
  { title: "a password of accents in order", headers: basicOf(`scraper:${inOrder}`), status: 401 },
  {
    title: "a password of letters with thirty accents",
    headers: basicOf(`scraper:${`a${"\u0301\u0316".repeat(15)}`.repeat(190)}`),
    status: 401
  },
  { title: "a password of spaces", headers: basicOf(`scraper:${"\u3000".repeat(3_900)}`), status: 401 },
  {
    title: "a scheme and spaces",
    headers: `Authorization: Basic${" ".repeat(7_500)}a${" ".repeat(7_500)}!\r\n`,
    status: 401
  },
  { title: "a host of all languages", target: `http://${encodeURIComponent(letters)}/`, headers: "", status: 401 },
  {
    title: "a host of accents",
    target: `http://${encodeURIComponent(accents.slice(1_800, 4_300))}/`,
    headers: "",
    status: 401
  },
  { title: "a path of dots", target: `/${"a/".repeat(3_000)}${"../".repeat(3_000)}`, headers: "", status: 401 },
  {
    title: "thousands of requests at once",
    headers: "",
    rest: "GET / HTTP/1.1\r\nHost:\r\n\r\n".repeat(2_600),
    status: Number.NaN
  },
  { title: "thousands of malformed ones", headers: "", rest: "GET / HTTP/1.1\r\n\r\n".repeat(3_500), status: 401 },
  {
    title: "a body in thousands of pieces",
    headers: "Transfer-Encoding: chunked\r\n",
    rest: "1\r\nx\r\n".repeat(10_000),
    status: 401
  },
  { title: "encodings without an end", headers: `Accept-Encoding: ${"gzip;q=0.1,".repeat(1_300)}\r\n`, status: 401 }
]

/** The status of the answer to each. */
const asked = (port: number, { headers, rest = "", target = "/metrics" }: Row): Promise<ReadonlyArray<number>> =>
  Promise.all(
    Array.from(
      { length: connections },
      () =>
        new Promise<number>((resolve) => {
          const socket = connect({ port, host: "127.0.0.1" }, () =>
            socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n${rest}`)
          )
          let text = ""
          socket.on("data", (part) => {
            text += part.toString("latin1")
          })
          socket.on("error", () => {})
          socket.on("close", () => resolve(Number(text.split(" ")[1])))
        })
    )
  )

/** The longest time that this thread takes between two timers from now on, in milliseconds. */
const longestTurn = () => {
  let last = performance.now()
  let longest = 0
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last - 5)
    last = now
  }, 5)
  return () => {
    clearInterval(timer)
    return longest
  }
}

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name} answers three hundred who send`, () => {
    for (const row of rows) {
      itInTime(`${row.title} at once, and authenticated clients meanwhile`, function* () {
        const authentication = { tokens: [token], users: { scraper: hashOf("open sesame") } }
        const { address, url } = yield* started(kind, { authentication }, { registry: someMetrics() })
        yield* Effect.promise(async () => {
          await ask(url, { headers: bearer(token) })
          const over = longestTurn()
          const before = process.memoryUsage.rss()
          const start = performance.now()
          const all = asked(address.port, row)
          await sleep(5)
          const { milliseconds, status } = await ask(url, { headers: bearer(token) })
          const statuses = await all
          const grown = (process.memoryUsage.rss() - before) / 1e6
          const took = performance.now() - start
          const turn = over()
          assert.strictEqual(status, 200)
          const others = statuses.filter((status) => !Object.is(status, row.status) && status !== 429)
          assert.deepStrictEqual(others, [])
          console.log(
            `costly ${kind.name}: ${row.title}; ${connections} answered in ${took.toFixed(0)} ms, who is let in in ` +
              `${milliseconds.toFixed(0)} ms; the longest turn of this thread ${turn.toFixed(0)} ms, ` +
              `${grown.toFixed(0)} MB more`
          )
          assert.isBelow(grown, mostMemory)
          assertWithin(took, 1_200, "all of them")
          if (kind === inThisThread) assertWithin(turn, 500, "a turn")
        })
      })
    }
  })
}
