import { Agent } from "node:https"
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type * as MetricsServer from "../src/MetricsServer.js"
import type { Authority, Certificate, CertificateOptions } from "./support/certificates.js"
import { authority, certificate, temporaryFiles } from "./support/certificates.js"
import { type AskOptions, get, outcome } from "./support/httpClient.js"
import { refused, type ServerKind, serverKinds, someMetrics, started } from "./support/servers.js"
import { itInTime } from "./support/timing.js"

type Given = Omit<MetricsServer.TlsOptions, "key" | "cert">

/** A server with a certificate of that authority, which is what its clients are verified against as well. */
const serving = (kind: ServerKind, trusted: Authority, tls: Given = { ca: trusted.cert }) =>
  Effect.gen(function* () {
    const own = yield* trusted.issue()
    const server = yield* started(kind, { tls: { ...own, ...tls } }, { registry: someMetrics() })
    const asked = (client?: Partial<Certificate>, options: AskOptions = {}) =>
      outcome(server.url, { ca: trusted.cert, ...client, ...options })
    return { ...server, asked }
  })

const anHourAgo = new Date(Date.now() - 3_600_000)

const versions = ["TLSv1.2", "TLSv1.3"] as const

/** Each certificate, and the allow-lists that let it in or do not. */
const names: ReadonlyArray<{
  readonly of: string
  readonly issued: CertificateOptions
  readonly lets: ReadonlyArray<string>
  readonly not: ReadonlyArray<string>
}> = [
  {
    of: "DNS names",
    issued: {
      names: [
        { type: 2, value: "Prometheus.example.com" },
        { type: 2, value: "b.example.com" }
      ]
    },
    lets: ["prometheus.example.com", "PROMETHEUS.example.com", "b.example.com"],
    not: ["example.com", "c.example.com", "*.example.com", "localhost"]
  },
  {
    of: "a wildcard, which is compared literally",
    issued: { names: [{ type: 2, value: "*.example.com" }] },
    lets: ["*.example.com"],
    not: ["a.example.com", "example.com"]
  },
  {
    of: "a URI",
    issued: { names: [{ type: 6, value: "spiffe://example.com/prometheus" }] },
    lets: ["spiffe://example.com/prometheus"],
    not: ["spiffe://example.com/Prometheus", "spiffe://example.com", "example.com"]
  },
  {
    of: "an e-mail address",
    issued: { names: [{ type: 1, value: "ops@example.com" }] },
    lets: ["ops@example.com"],
    not: ["example.com", "ops"]
  },
  {
    of: "IP addresses",
    issued: {
      names: [
        { type: 7, ip: "192.0.2.7" },
        { type: 7, ip: "2001:db8::7" }
      ]
    },
    lets: ["192.0.2.7", "2001:db8::7", "2001:0DB8:0:0:0:0:0:7"],
    not: ["192.0.2.70", "2001:db8::70"]
  },
  {
    of: "an address as a DNS name",
    issued: { names: [{ type: 2, value: "192.0.2.7" }] },
    lets: [],
    not: ["192.0.2.7"]
  },
  {
    of: "one name that looks like two",
    issued: { names: [{ type: 6, value: "http://a/, DNS:prometheus" }] },
    lets: ["http://a/, DNS:prometheus"],
    not: ["prometheus"]
  },
  {
    of: "a common name alone",
    issued: { commonName: "prometheus", names: [] },
    lets: ["prometheus"],
    not: ["Prometheus", "CN=prometheus"]
  },
  {
    of: "a common name with what is escaped elsewhere",
    issued: { commonName: String.raw`Scraper\, \"eu\" \+ \<C:\\2C\>\ `, names: [] },
    lets: [String.raw`Scraper, "eu" + <C:\2C> `],
    not: ["Scraper", String.raw`Scraper\, \"eu\" \+ \<C:\\2C\>\ `]
  },
  {
    of: "a common name with a line in it, which begins no other name",
    issued: { commonName: String.raw`other\0ACN=prometheus`, names: [] },
    lets: ["other\nCN=prometheus"],
    not: ["prometheus", "other"]
  },
  {
    of: "a common name that shares its part of the subject with something else",
    issued: { commonName: "prometheus+OU=metrics", names: [] },
    lets: ["prometheus"],
    not: ["prometheus + OU=metrics", "metrics"]
  },
  {
    of: "two common names, neither of which counts",
    issued: { commonName: "prometheus+CN=other", names: [] },
    lets: [],
    not: ["prometheus", "other", "prometheus + CN=other"]
  },
  {
    of: "a common name beside others, which does not count",
    issued: { commonName: "prometheus", names: [{ type: 2, value: "other" }] },
    lets: ["other"],
    not: ["prometheus"]
  }
]

/** One request on a connection of its own, and the session to take up again later. */
const session = (port: number, options: ConnectionOptions) =>
  Effect.promise(
    () =>
      new Promise<{ readonly status: string; readonly reused: boolean; readonly session: Buffer | undefined }>(
        (resolve) => {
          const socket: TLSSocket = connect({ ...options, host: "127.0.0.1", servername: "localhost", port })
          let text = ""
          let known: Buffer | undefined
          let reused = false
          socket.on("session", (given) => {
            known = given
          })
          socket.on("secureConnect", () => {
            reused = socket.isSessionReused()
            known ??= socket.getSession()
            socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
          })
          socket.on("data", (part) => {
            text += String(part)
          })
          socket.on("error", () => {})
          socket.on("close", () => resolve({ status: text.split(" ")[1] ?? "none", reused, session: known }))
        }
      )
  )

for (const kind of serverKinds) {
  describe(`the clients of a metrics server ${kind.name}`, () => {
    it.scopedLive("need no certificate by default", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const { asked } = yield* serving(kind, trusted, {})
        assert.strictEqual(yield* asked(), 200)
        assert.strictEqual(yield* asked(yield* trusted.issue()), 200)
      })
    )

    it.scopedLive("need one where authorities are given, as text or as a file", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const { ca } = yield* temporaryFiles({ ca: trusted.cert })
        for (const given of [trusted.cert, ca]) {
          const { asked } = yield* serving(kind, trusted, { ca: given })
          for (const maxVersion of versions) {
            assert.strictEqual(yield* asked(yield* trusted.issue(), { maxVersion }), 200)
            assert.notTypeOf(yield* asked({}, { maxVersion }), "number")
          }
        }
      })
    )

    it.scopedLive("get no answer with a certificate of another authority, of their own, or an expired one", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const { asked } = yield* serving(kind, trusted)
        const unknown = yield* (yield* authority()).issue()
        const own = yield* certificate
        const expired = yield* trusted.issue({ until: anHourAgo })
        for (const client of [unknown, own, expired]) {
          for (const maxVersion of versions) {
            const outcome = yield* asked(client, { maxVersion })
            assert.notTypeOf(outcome, "number", `${outcome}`)
          }
        }
        assert.strictEqual(yield* asked(yield* trusted.issue()), 200)
      })
    )

    it.scopedLive("may have no certificate if one is only requested, but no unverifiable one", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const tls: Given = { ca: trusted.cert, clientCertificate: "requested", allowedNames: ["prometheus"] }
        const { asked, healthUrl, url } = yield* serving(kind, trusted, tls)
        assert.strictEqual(yield* asked(), 200)
        assert.strictEqual(yield* asked(yield* trusted.issue({ names: [{ type: 2, value: "prometheus" }] })), 200)
        const unknown = yield* (yield* authority()).issue({ names: [{ type: 2, value: "prometheus" }] })
        const expired = yield* trusted.issue({ names: [{ type: 2, value: "prometheus" }], until: anHourAgo })
        const other = yield* trusted.issue()
        for (const client of [unknown, yield* certificate, expired, other]) {
          for (const asking of [url, healthUrl, `${healthUrl}nowhere`]) {
            const { body, status } = yield* get(asking, { ca: trusted.cert, ...client })
            assert.strictEqual(status, 403)
            assert.notInclude(body, "prometheus")
          }
        }
      })
    )

    itInTime("with a certificate that ends while their connection is open are refused from then on", function* () {
      const trusted = yield* authority()
      const { healthUrl } = yield* serving(kind, trusted)
      const until = new Date(Math.ceil(Date.now() / 1_000) * 1_000 + 2_000)
      const client = yield* trusted.issue({ until })
      const agent = yield* Effect.acquireRelease(
        Effect.sync(() => new Agent({ keepAlive: true, maxSockets: 1 })),
        (made) => Effect.sync(() => made.destroy())
      )
      const asking = get(healthUrl, { ca: trusted.cert, ...client, agent })
      assert.strictEqual((yield* asking).status, 200)
      yield* Effect.sleep(until.getTime() - Date.now() + 10)
      const { body, reused, status } = yield* asking
      assert.isTrue(reused)
      assert.strictEqual(status, 403)
      assert.include(body, "expired")
    })

    for (const version of versions) {
      it.scopedLive(`do not take up a session of ${version} again without being verified again`, () =>
        Effect.gen(function* () {
          const trusted = yield* authority()
          const { address } = yield* serving(kind, trusted)
          const client = yield* trusted.issue()
          const options = { ca: trusted.cert, maxVersion: version }
          const first = yield* session(address.port, { ...options, ...client })
          assert.strictEqual(first.status, "200")
          const again = yield* session(address.port, { ...options, ...client, session: first.session })
          assert.deepEqual([again.status, again.reused], ["200", false])
          const without = yield* session(address.port, { ...options, session: first.session })
          assert.deepEqual([without.status, without.reused], ["none", false])
        })
      )
    }

    it.scopedLive("are refused below the lowest version", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const { asked } = yield* serving(kind, trusted, { minVersion: "TLSv1.3" })
        assert.strictEqual(yield* asked({}, { maxVersion: "TLSv1.3" }), 200)
        assert.strictEqual(yield* asked({}, { maxVersion: "TLSv1.2" }), "EPROTO")
      })
    )

    for (const { of, issued, lets, not } of names) {
      it.scopedLive(`are let in by ${of}`, () =>
        Effect.gen(function* () {
          const trusted = yield* authority()
          const client = yield* trusted.issue(issued)
          for (const [status, list] of [
            [200, lets],
            [403, not]
          ] as const) {
            for (const name of list) {
              const { asked } = yield* serving(kind, trusted, { ca: trusted.cert, allowedNames: ["another", name] })
              assert.strictEqual(yield* asked(client), status, name)
            }
          }
        })
      )
    }
  })

  describe(`the authorities of a metrics server ${kind.name}`, () => {
    it.scopedLive("must be certificates that can be read, or their file is named", () =>
      Effect.gen(function* () {
        const own = yield* certificate
        const garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        const half = `${own.cert}\n${garbage}`
        const paths = yield* temporaryFiles({ garbage, half, empty: "", key: own.key })
        for (const ca of [...Object.values(paths), "/nowhere/ca.pem"]) {
          const error = yield* refused(started(kind, { tls: { ...own, ca } }))
          assert.strictEqual(error.reason, "Tls")
          assert.include(error.message, `TLS authorities (tls.ca) in ${ca}`)
        }
      })
    )

    it.scopedLive("are needed to ask for certificates, and asking is needed to look at names", () =>
      Effect.gen(function* () {
        const own = yield* certificate
        for (const [tls, message] of [
          [{ clientCertificate: "required" }, "tls.ca"],
          [{ clientCertificate: "requested" }, "tls.ca"],
          [{ clientCertificate: "require", ca: own.cert }, '"required"'],
          [{ allowedNames: ["prometheus"] }, "tls.clientCertificate"],
          [{ allowedNames: ["prometheus"], ca: own.cert, clientCertificate: "none" }, "tls.clientCertificate"],
          [{ allowedNames: [], ca: own.cert }, "tls.allowedNames"],
          [{ allowedNames: [""], ca: own.cert }, "tls.allowedNames"],
          [{ allowedNames: "prometheus", ca: own.cert }, "tls.allowedNames"],
          [{ allowedNames: ["fe80::1%eth0"], ca: own.cert }, "fe80::1%eth0"],
          [{ minVersion: "TLSv1.1" }, "tls.minVersion"],
          [{ reloadInterval: "often" }, "tls.reloadInterval"]
        ] as const) {
          const { cert } = yield* temporaryFiles({ cert: own.cert })
          const error = yield* refused(started(kind, { tls: { ...own, cert, ...(tls as object) } }))
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.include(error.message, message)
        }
      })
    )
  })
}
