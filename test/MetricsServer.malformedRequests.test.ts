import { readFileSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { join } from "node:path"
import { connect as secureConnect, type TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { certificate } from "./support/certificates.js"
import { ask } from "./support/httpClient.js"
import { serverKinds, someMetrics, started } from "./support/servers.js"
import { root } from "./support/snippets.js"
import { itInTime, patience } from "./support/timing.js"

const token = "0123456789abcdef0123"
const host = "Host: localhost\r\n"

/** A request with those lines and, in their place, the host and who asks. */
const request =
  (line: string, headers = "", body = "") =>
  (who: string): string =>
    `${line}\r\n${host}${who}${headers}\r\n${body}`

const withoutHost =
  (line: string, headers = "") =>
  (who: string) =>
    `${line}\r\n${headers}${who}\r\n`

interface Odd {
  /** What is sent, with the lines that say who asks. */
  readonly text: (who: string) => string
  /** What else is done. Default: nothing. */
  readonly next?: "ends" | "renegotiates"
  readonly over?: "plain" | "https"
}

const many = (count: number): string => Array.from({ length: count }, (_, index) => `A${index}: b\r\n`).join("")

const spaces = " ".repeat(40_000)

/** By the first column of the table in SECURITY.md. */
const odd: Readonly<Record<string, ReadonlyArray<Odd>>> = {
  "GET /metrics": [
    { text: request("GET /metrics HTTP/1.1") },
    { text: request("GET /metrics HTTP/1.1"), next: "ends" }
  ],
  "HTTP/2 without negotiation (PRI * HTTP/2.0)": [{ text: () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }],
  "HTTP/0.9 (GET /metrics)": [{ text: () => "GET /metrics\r\n\r\n" }],
  "HTTP/1.2, HTTP/3.0": [{ text: request("GET /metrics HTTP/1.2") }, { text: request("GET /metrics HTTP/3.0") }],
  "HTTP/1.0 without Host": [{ text: withoutHost("GET /metrics HTTP/1.0") }],
  "HTTP/1.1 without Host": [{ text: withoutHost("GET /metrics HTTP/1.1") }],
  "two Host": [
    { text: request("GET /metrics HTTP/1.1", host) },
    { text: request("GET /metrics HTTP/1.0", "hOST: other\r\n") }
  ],
  "an absolute URL as the target": [{ text: request("GET http://example.com/metrics HTTP/1.1") }],
  "a body that is announced but not sent": [
    { text: request("POST /metrics HTTP/1.1", "Content-Length: 100000000\r\n") }
  ],
  "a chunked body without an end": [
    { text: request("POST /metrics HTTP/1.1", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n") }
  ],
  "a chunk extension of 20 kB": [
    {
      text: request("POST /metrics HTTP/1.1", "Transfer-Encoding: chunked\r\n", `5;${"a".repeat(20_000)}\r\nhello\r\n`)
    }
  ],
  "Transfer-Encoding and Content-Length": [
    { text: request("POST /metrics HTTP/1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n") },
    { text: request("POST /metrics HTTP/1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n") }
  ],
  "two different Content-Length": [
    { text: request("POST /metrics HTTP/1.1", "Content-Length: 5\r\nContent-Length: 6\r\n", "hello") }
  ],
  "Expect: 100-continue": [
    { text: request("POST /metrics HTTP/1.1", "Expect: 100-continue\r\nContent-Length: 5\r\n") }
  ],
  "Expect: tea": [{ text: request("GET /metrics HTTP/1.1", "Expect: tea\r\n") }],
  CONNECT: [
    { text: request("CONNECT localhost:443 HTTP/1.1") },
    { text: (who) => `CONNECT localhost:443 HTTP/1.1\r\n${who}\r\nmore` }
  ],
  "Upgrade to WebSocket or h2c": [
    { text: request("GET /metrics HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n") },
    {
      text: request(
        "GET /metrics HTTP/1.1",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
      )
    }
  ],
  "OPTIONS *": [{ text: request("OPTIONS * HTTP/1.1") }],
  TRACE: [{ text: request("TRACE /metrics HTTP/1.1") }],
  "an unknown method": [{ text: request("FOO /metrics HTTP/1.1") }],
  "a target of 20 kB": [{ text: request(`GET /${"a".repeat(20_000)} HTTP/1.1`) }],
  "101 headers": [
    { text: request("GET /metrics HTTP/1.1", many(100)) },
    { text: request("GET / HTTP/1.1", many(2_000)) }
  ],
  "40 kB of empty lines": [{ text: () => "\r\n".repeat(20_000) }, { text: () => "\n".repeat(40_000) }],
  "40 kB of spaces, in the request line or before the value of a header": [
    { text: () => `GET ${spaces}` },
    { text: () => `GET /metrics ${spaces}` },
    { text: (who) => `GET /metrics HTTP/1.1\r\n${host}${who}A:${spaces}` }
  ],
  "a header folded over two lines": [{ text: request("GET /metrics HTTP/1.1", "A: b\r\n c\r\n") }],
  "NUL in a header": [{ text: request("GET /metrics HTTP/1.1", "A: b\0c\r\n") }],
  "NUL in the target": [{ text: request("GET /met\0rics HTTP/1.1") }],
  "a space before the colon": [{ text: request("GET /metrics HTTP/1.1", "A : b\r\n") }],
  "lines that end without CR": [{ text: (who) => request("GET /metrics HTTP/1.1")(who).replaceAll("\r", "") }],
  "bytes that are not a request": [
    { text: () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" },
    { text: () => "\r\n\r\nhello\r\n\r\n" }
  ],
  "a request, followed by other bytes": [{ text: request("GET /metrics HTTP/1.1", "", "hello\r\n\r\n") }],
  "an incomplete request": [{ text: () => "GET /met" }, { text: () => `GET / HTTP/1.1\r\n${host}` }],
  "an incomplete request, and the client ends its side": [{ text: () => "GET /met", next: "ends" }],
  "HTTP on the port of HTTPS": [{ text: request("GET /metrics HTTP/1.1"), over: "plain" }],
  "another TLS handshake on the same connection": [{ text: () => "", next: "renegotiates", over: "https" }]
}

interface Row {
  readonly what: string
  /** Whether the versions of Node.js differ: in some, OpenSSL refuses before the server sees the request. */
  readonly mayBeNothing: boolean
  /** The statuses of an unauthorized client. */
  readonly refused: ReadonlyArray<string>
  readonly letIn: ReadonlyArray<string>
}

const statuses = (text: string): ReadonlyArray<string> => [...text.matchAll(/\d{3}/g)].map(String)

const rows: ReadonlyArray<Row> = (() => {
  const [, below = ""] = readFileSync(join(root, "SECURITY.md"), "utf8").split(
    "| request | unauthorized | authorized |\n"
  )
  return [...(below.split("\n\n")[0] ?? "").matchAll(/^\| (.+?) \| (.+?) \| (.+?) \|$/gm)]
    .filter(([, what]) => what !== "---")
    .map(([, what = "", refused = "", letIn = ""]) => ({
      what: what.replaceAll("`", ""),
      mayBeNothing: refused.endsWith(" or nothing"),
      refused: statuses(refused),
      letIn: statuses(letIn)
    }))
})()

interface Outcome {
  readonly statuses: ReadonlyArray<string>
  readonly text: string
  readonly isClosed: boolean
}

/** A connection is kept, where no more comes for so long. Those that are closed are so within the limits below. */
const quiet = 3_000

const outcomeOf = (port: number, isSecure: boolean, { text, next }: Odd, who: string): Promise<Outcome> =>
  new Promise((resolve, reject) => {
    // TLS 1.3 has no renegotiation.
    const maxVersion = next === "renegotiates" ? "TLSv1.2" : "TLSv1.3"
    const options = { port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion } as const
    const socket: Socket = isSecure ? secureConnect(options) : connect(options)
    let received = ""
    const over = (isClosed: boolean) => (): void => {
      clearTimeout(late)
      clearTimeout(silence)
      socket.destroy()
      const found = [...received.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => String(status))
      resolve({ statuses: found, text: received, isClosed })
    }
    const late = setTimeout(() => reject(new Error(`neither answered nor closed: ${received}`)), patience)
    let silence: NodeJS.Timeout | undefined
    socket.on("data", (part) => {
      received += part.toString("latin1")
      clearTimeout(silence)
      silence = setTimeout(over(false), quiet)
    })
    socket.on("error", () => {})
    socket.on("close", over(true))
    socket.on(isSecure ? "secureConnect" : "connect", () => {
      if (next === "renegotiates") {
        ;(socket as TLSSocket).renegotiate({}, () => {})
        return
      }
      socket.write(text(who), "latin1")
      if (next === "ends") socket.end()
    })
  })

/** How many answers end their connection only with what comes after them. */
const isKept = (status: string | undefined): boolean => status !== undefined && ["200", "404", "405"].includes(status)

describe("The table of odd requests", () => {
  it("is about the requests that are sent here", () => {
    assert.sameMembers(
      rows.map(({ what }) => what),
      Object.keys(odd)
    )
  })
})

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name}`, () => {
    for (const secured of [false, true]) {
      itInTime(`answers odd requests as the table in SECURITY.md says${secured ? ", over HTTPS" : ""}`, function* () {
        const tls = secured ? yield* certificate : undefined
        const limits = { headersTimeout: 600, requestTimeout: 1_200 }
        const options = { ...limits, tls, authentication: { tokens: [token] } }
        const server = yield* started(kind, options, { registry: someMetrics() })
        const { port } = server.address
        const sent = rows.flatMap((row) =>
          [row.refused, row.letIn].flatMap((expected, index) =>
            (odd[row.what] ?? [])
              .filter(({ over }) => over === undefined || secured)
              .map((each) => ({ each, expected, row, isLetIn: index === 1 }))
          )
        )
        const outcomes = yield* Effect.promise(() =>
          Promise.all(
            sent.map(async ({ each, expected, isLetIn, row }) => {
              const who = isLetIn ? `Authorization: Bearer ${token}\r\n` : "Authorization: Bearer x\r\n"
              const outcome = await outcomeOf(port, secured && each.over !== "plain", each, who)
              const isNothing = row.mayBeNothing && outcome.text === ""
              const label = `${row.what}, ${isLetIn ? "authorized" : "unauthorized"}`
              return { outcome, expected: isNothing ? [] : expected, isLetIn, label }
            })
          )
        )
        for (const { expected, isLetIn, label, outcome } of outcomes) {
          assert.deepStrictEqual(outcome.statuses, expected, label)
          const heads = outcome.text.match(/^x-content-type-options: nosniff\r$/gim) ?? []
          assert.strictEqual(heads.length, expected.length, label)
          if (!isLetIn || !isKept(expected.at(-1))) assert.isTrue(outcome.isClosed, label)
        }
        const headers = { authorization: `Bearer ${token}` }
        const { status } = yield* Effect.promise(() => ask(server.url, { headers, ca: tls?.cert }))
        assert.strictEqual(status, 200)
        assert.deepStrictEqual(
          server.lines.filter(({ level }) => level !== "INFO"),
          []
        )
      })

      itInTime(`answers headers that are too long, for each limit${secured ? ", over HTTPS" : ""}`, function* () {
        const tls = secured ? yield* certificate : undefined
        for (const maxHeaderSize of [16_384, 32_768, 65_536, 131_072]) {
          const server = yield* started(kind, { tls, maxHeaderSize }, { registry: someMetrics() })
          for (const more of [100, 20_000]) {
            const text = request("GET /metrics HTTP/1.1", `A: ${"b".repeat(maxHeaderSize + more)}\r\n`)
            const outcome = yield* Effect.promise(() => outcomeOf(server.address.port, secured, { text }, ""))
            const label = `${maxHeaderSize} and ${more}`
            assert.deepStrictEqual(outcome.statuses, ["431"], label)
            assert.isTrue(outcome.isClosed, label)
          }
        }
      })
    }
  })
}
