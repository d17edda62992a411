/** Malformed and hostile requests. Each character is a byte. */
import * as fc from "fast-check"

/** The pieces that a client sends on one connection, and its behaviour after them. */
export interface Sent {
  readonly pieces: ReadonlyArray<string>
  /** It waits for the answer, or for the connection to be closed; says that it has no more; or goes away. */
  readonly end: "waits" | "ends" | "leaves"
}

const bytes = (options: { readonly maxLength: number }): fc.Arbitrary<string> =>
  fc.string({ ...options, unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)) })

const printable = (options: { readonly maxLength: number }): fc.Arbitrary<string> =>
  fc.string({ ...options, unit: fc.integer({ min: 33, max: 126 }).map((code) => String.fromCharCode(code)) })

const often = <A>(weight: number, arbitrary: fc.Arbitrary<A>) => ({ weight, arbitrary })

const repeated = (text: string, most: number): fc.Arbitrary<string> =>
  fc.integer({ min: 0, max: most }).map((times) => text.repeat(times))

const method = fc.oneof(
  often(20, fc.constantFrom("GET", "HEAD")),
  often(
    3,
    fc.constantFrom("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "QUERY", "PRI", "M-SEARCH")
  ),
  often(1, fc.constantFrom("get", "G ET", "", "GET\0", "GET\t", "\u00e9", "GE\r\nT", "SOURCE", "GETGETGET")),
  often(1, printable({ maxLength: 12 }))
)

const name = fc.oneof(
  fc.constantFrom(
    "jobs_total",
    "queue_length",
    "__proto__",
    "constructor",
    "%",
    "%zz",
    "%ff%fe",
    "%00",
    "+",
    "&",
    "[]"
  ),
  printable({ maxLength: 20 }),
  printable({ maxLength: 20 })
)

const query = fc.oneof(
  often(
    6,
    fc.array(name, { maxLength: 5 }).map((names) => names.map((each) => `name[]=${each}`).join("&"))
  ),
  often(
    1,
    fc.tuple(name, fc.integer({ min: 1, max: 3_000 })).map(([each, times]) => `name[]=${each}&`.repeat(times))
  ),
  often(
    1,
    fc.integer({ min: 1, max: 1_400 }).map((size) => Array.from({ length: size }, (_, n) => `name[]=${n}`).join("&"))
  ),
  often(1, bytes({ maxLength: 60 })),
  often(1, fc.constantFrom("name%5B%5D=jobs_total", "name[]", "name[]=", "=", "&&&", "name[0]=jobs_total", "?"))
)

const path = fc.oneof(
  often(10, fc.constantFrom("/metrics", "/")),
  often(
    4,
    fc.constantFrom(
      "*",
      "",
      "//",
      "///metrics",
      "/metrics/..",
      "/x/../metrics",
      "/%2e%2e/metrics",
      "/%",
      "/\\metrics",
      "\\",
      "metrics",
      "http://a/metrics",
      "http://a",
      "http://",
      "http://[",
      "http://[::1]:99999/",
      "http://\u00e4/metrics",
      "https://a:b@c/metrics",
      "a:80",
      "data:,x",
      "javascript:0",
      "/metrics#part",
      "/__proto__"
    )
  ),
  often(1, bytes({ maxLength: 40 })),
  often(1, repeated("/a", 10_000))
)

const target = fc.oneof(
  often(3, path),
  often(
    2,
    fc.tuple(path, query).map(([one, other]) => `${one}?${other}`)
  )
)

const version = fc.oneof(
  often(30, fc.constant(" HTTP/1.1")),
  often(2, fc.constant(" HTTP/1.0")),
  often(
    1,
    fc.constantFrom("", " ", " HTTP/0.9", " HTTP/1.2", " HTTP/2.0", " http/1.1", " HTTP/1.1 ", " HTTP/", " RTSP/1.0")
  ),
  often(1, bytes({ maxLength: 12 }))
)

const quality = fc.constantFrom(
  "",
  ";q=0",
  ";q=1",
  ";q=0.5",
  ";q=1.001",
  ";q=-1",
  ";q=nan",
  ';q="1"',
  ";q",
  ";q=0.5;q=1"
)

const range = fc.tuple(
  fc.constantFrom(
    "text/plain",
    "text/plain;version=0.0.4",
    "application/openmetrics-text",
    'application/openmetrics-text; version="1.0.0"',
    "application/openmetrics-text;version=0.0.1;charset=utf-8",
    "*/*",
    "text/*",
    "/",
    "gzip",
    "*",
    '"',
    '"\\',
    ""
  ),
  quality
)

const accept = fc.oneof(
  often(
    6,
    fc.array(range, { maxLength: 6 }).map((ranges) => ranges.map((each) => each.join("")).join(", "))
  ),
  often(1, bytes({ maxLength: 80 })),
  often(1, repeated('"\\"', 3_000)),
  often(1, repeated(",", 12_000)),
  often(1, repeated('text/plain;q="', 800))
)

const header = fc.oneof(
  often(
    24,
    accept.map((value) => `Accept: ${value}`)
  ),
  often(
    8,
    fc
      .constantFrom("gzip", "gzip;q=0", "*", "identity", "br, gzip", "x-gzip", ";;")
      .map((value) => `Accept-Encoding: ${value}`)
  ),
  often(
    6,
    fc
      .constantFrom("10", "0.4", "-1", "1e99", "NaN", "0x1", "", "ten", "Infinity")
      .map((value) => `X-Prometheus-Scrape-Timeout-Seconds: ${value}`)
  ),
  often(
    3,
    fc.constantFrom("close", "keep-alive", "upgrade", "Upgrade, close", "").map((value) => `Connection: ${value}`)
  ),
  often(
    4,
    fc.constantFrom(
      "Content-Length: 0",
      "Content-Length: 5",
      "Content-Length: 6",
      "Content-Length: -1",
      "Content-Length: 0x5",
      "Content-Length: 5, 5",
      "Content-Length: 99999999999999999999",
      "Transfer-Encoding: chunked",
      "Transfer-Encoding: identity",
      "Transfer-Encoding: gzip, chunked",
      "Transfer-Encoding: chunked, gzip",
      "Transfer-Encoding:\tchunked",
      "Transfer-Encoding : chunked",
      "transfer-ENCODING: xchunked"
    )
  ),
  often(
    3,
    fc.constantFrom(
      "Upgrade: websocket",
      "Upgrade: h2c\r\nConnection: Upgrade\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
      "Expect: 100-continue",
      "Expect: everything",
      "Host: other",
      "Host:",
      "HOST: test",
      " obs: fold",
      "A: b\r\n folded",
      "A: b\0c",
      "A\0: b",
      "No colon",
      ": nothing",
      "A : b",
      "Authorization: Basic \u00ff",
      "Range: bytes=0-1",
      "Trailer: A",
      "Cookie: __proto__=1",
      "__proto__: 1"
    )
  ),
  often(1, bytes({ maxLength: 60 })),
  often(
    1,
    repeated("a", 18_000).map((value) => `A: ${value}`)
  ),
  often(
    1,
    repeated("A: b\r\n", 2_500).map((lines) => `${lines}A: b`)
  )
)

const body = fc.oneof(
  often(20, fc.constant("")),
  often(
    4,
    fc.constantFrom(
      "hello",
      "5\r\nhello\r\n0\r\n\r\n",
      "5\r\nhello\r\n0\r\nA: b\r\n\r\n",
      "5\r\nhello\r\n",
      "5;ext=1\r\nhello\r\n0\r\n\r\n",
      "ffffffffffffffff\r\nhello",
      "-1\r\nhello\r\n0\r\n\r\n",
      "5\r\nhello world\r\n0\r\n\r\n",
      "0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
  ),
  often(1, bytes({ maxLength: 200 })),
  often(1, repeated("x", 30_000))
)

const host = fc.oneof(often(12, fc.constant(["Host: localhost"])), often(1, fc.constant([])))

const lineEnd = fc.oneof(often(30, fc.constant("\r\n")), often(1, fc.constantFrom("\n", "\r", "\n\r", "")))

const request = fc
  .tuple(method, target, version, host, fc.array(header, { maxLength: 4 }), body, lineEnd)
  .map(([verb, what, how, hosts, headers, content, end]) =>
    [`${verb} ${what}${how}`, ...hosts, ...headers, "", content].join(end)
  )

const honest = fc.constantFrom(
  "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: application/openmetrics-text\r\n\r\n",
  "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
  "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n",
  "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
)

const burst = fc
  .array(fc.oneof(often(3, honest), often(1, request)), { minLength: 2, maxLength: 20 })
  .map((all) => all.join(""))

// Something at some place of what would have been sent.
const mutated = fc
  .tuple(
    fc.oneof(honest, request, burst),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.integer({ min: 0, max: 12 }),
    bytes({ maxLength: 6 })
  )
  .map(([text, place, removed, inserted]) => {
    const at = Math.floor(place * text.length)
    return text.slice(0, at) + inserted + text.slice(at + removed)
  })

const partial = fc
  .tuple(fc.oneof(honest, request, burst), fc.double({ min: 0, max: 1, noNaN: true }))
  .map(([text, part]) => text.slice(0, Math.floor(part * text.length)))

const other = fc.oneof(
  fc.constantFrom(
    "",
    "\r\n\r\n\r\n",
    "GET /metrics\r\n",
    // The beginning of TLS, of HTTP/2, of SSH, of a proxy, of a database.
    `\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03${"*".repeat(160)}`,
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "SSH-2.0-OpenSSH_9.6\r\n",
    "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "\0\0\0\x08\x04\xd2\x16\x2f"
  ),
  bytes({ maxLength: 300 })
)

const text = fc.oneof(often(6, request), often(3, mutated), often(2, burst), often(1, partial), often(1, other))

/** Everything at once, or in pieces. */
export const anySent: fc.Arbitrary<Sent> = fc
  .record({
    whole: text,
    size: fc.oneof(often(5, fc.constant(Number.POSITIVE_INFINITY)), often(1, fc.integer({ min: 1, max: 60 }))),
    end: fc.oneof(
      often(10, fc.constant("waits" as const)),
      often(2, fc.constant("ends" as const)),
      often(1, fc.constant("leaves" as const))
    )
  })
  .map(({ end, size, whole }) => ({ end, pieces: inPieces(whole, size) }))

// Not too many: each is a turn of the event loop.
const inPieces = (whole: string, size: number): ReadonlyArray<string> => {
  const each = Math.max(size, whole.length / 50)
  return Array.from({ length: Math.ceil(whole.length / each) || 1 }, (_, index) =>
    Number.isFinite(each) ? whole.slice(Math.floor(index * each), Math.floor((index + 1) * each)) : whole
  )
}
