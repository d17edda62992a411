import { type ConnectionOptions, connect, type TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as MetricsServer from "../src/MetricsServer.js"
import { type Certificate, certificate, encrypted, temporaryFiles } from "./support/certificates.js"
import { get, isFree } from "./support/httpClient.js"
import { refused, type ServerKind, serverKinds, someMetrics, started } from "./support/servers.js"

const passphrase = "open sesame"

/** Serves with these options; clients that trust `cert` trust it. */
const serves = (kind: ServerKind, tls: MetricsServer.TlsOptions, cert: string) =>
  Effect.gen(function* () {
    const server = yield* started(kind, { tls }, { registry: someMetrics() })
    assert.strictEqual(server.https, true)
    assert.strictEqual(server.url, `https://127.0.0.1:${server.address.port}/metrics`)
    assert.strictEqual(server.healthUrl, `https://127.0.0.1:${server.address.port}/`)
    assert.include((yield* get(server.url, { ca: cert })).body, "jobs_total 3\n")
    assert.strictEqual((yield* get(server.healthUrl, { ca: cert })).status, 200)
    assert.include(server.lines[0]?.message, server.url)
    return server
  })

/** What of it was agreed on, or the code of what went wrong. */
const handshake = (
  port: number,
  options: ConnectionOptions,
  agreed = (socket: TLSSocket) => String(socket.getProtocol())
): Effect.Effect<string> =>
  Effect.async((resume) => {
    // Without it OpenSSL itself would not offer the old versions, and the server would have nothing to refuse.
    const ciphers = "DEFAULT@SECLEVEL=0"
    const socket: TLSSocket = connect({ ...options, ciphers, host: "127.0.0.1", port, rejectUnauthorized: false })
    const over = (how: string): void => {
      socket.destroy()
      resume(Effect.succeed(how))
    }
    socket.on("secureConnect", () => over(agreed(socket)))
    socket.on("error", (error: NodeJS.ErrnoException) => over(String(error.code)))
  })

interface Refused {
  readonly title: string
  readonly tls: (own: Certificate, foreign: Certificate) => MetricsServer.TlsOptions
  /** What is written into files, under these names; the options then name the files. */
  readonly names: ReadonlyArray<"key" | "cert">
}

const notPem = "this is no PEM text\n"
const brokenPem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
const brokenCertificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

/** What cannot be served with, and which of the files must be named. */
const unusable: ReadonlyArray<Refused> = [
  { title: "a key that is no PEM text", tls: ({ cert }) => ({ key: notPem, cert }), names: ["key"] },
  { title: "a key that is broken", tls: ({ cert }) => ({ key: brokenPem, cert }), names: ["key"] },
  { title: "a certificate in the place of the key", tls: ({ cert }) => ({ key: cert, cert }), names: ["key"] },
  { title: "a certificate that is no PEM text", tls: ({ key }) => ({ key, cert: notPem }), names: ["cert"] },
  { title: "a certificate that is broken", tls: ({ key }) => ({ key, cert: brokenCertificate }), names: ["cert"] },
  { title: "a key in the place of the certificate", tls: ({ key }) => ({ key, cert: key }), names: ["cert"] },
  {
    title: "a key that does not fit the certificate",
    tls: ({ cert }, foreign) => ({ key: foreign.key, cert }),
    names: ["key", "cert"]
  },
  {
    title: "an encrypted key without a passphrase",
    tls: ({ cert, key }) => ({ key: encrypted(key, passphrase), cert }),
    names: ["key"]
  },
  {
    title: "an encrypted key with another passphrase",
    tls: ({ cert, key }) => ({ key: encrypted(key, passphrase), cert, passphrase: "another" }),
    names: ["key"]
  }
]

const text = (source: string | Redacted.Redacted<string>): string =>
  Redacted.isRedacted(source) ? Redacted.value(source) : source

for (const kind of serverKinds) {
  describe(`HTTPS of a metrics server ${kind.name}`, () => {
    it.scopedLive("is served with a key and a certificate given as PEM text", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        yield* serves(kind, { key, cert }, cert)
      })
    )

    it.scopedLive("is served with a key and a certificate given as files", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        yield* serves(kind, yield* temporaryFiles({ key, cert }), cert)
      })
    )

    it.scopedLive("is served with a redacted key, given as text or as a file", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const file = yield* temporaryFiles({ key })
        yield* serves(kind, { key: Redacted.make(key), cert }, cert)
        yield* serves(kind, { key: Redacted.make(file.key), cert }, cert)
      })
    )

    it.scopedLive("is served with an encrypted key and its passphrase, redacted or not", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const locked = encrypted(key, passphrase)
        const file = yield* temporaryFiles({ locked })
        yield* serves(kind, { key: locked, cert, passphrase }, cert)
        yield* serves(kind, { key: Redacted.make(file.locked), cert, passphrase: Redacted.make(passphrase) }, cert)
      })
    )

    it.scopedLive("is refused to a client that speaks nothing newer than TLS 1.1", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const { address } = yield* started(kind, { tls: { key, cert } })
        const offered = (version: "TLSv1.1" | "TLSv1.2" | "TLSv1.3") =>
          handshake(address.port, { minVersion: "TLSv1", maxVersion: version })
        assert.strictEqual(yield* offered("TLSv1.1"), "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION")
        assert.strictEqual(yield* offered("TLSv1.2"), "TLSv1.2")
        assert.strictEqual(yield* offered("TLSv1.3"), "TLSv1.3")
      })
    )

    it.scopedLive("is served to clients that offer a supported HTTP version by ALPN, or no ALPN", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const { address } = yield* started(kind, { tls: { key, cert } })
        const rows: ReadonlyArray<readonly [named: ReadonlyArray<string>, agreed: string]> = [
          [[], "false"],
          [["http/1.1"], "http/1.1"],
          [["http/1.0"], "http/1.0"],
          [["http/1.0", "http/1.1"], "http/1.1"],
          [["h2", "http/1.1"], "http/1.1"],
          [["h2", "http/1.0"], "http/1.0"],
          [["h2"], "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"]
        ]
        for (const [ALPNProtocols, agreed] of rows) {
          const options = ALPNProtocols.length === 0 ? {} : { ALPNProtocols: [...ALPNProtocols] }
          const found = yield* handshake(address.port, options, ({ alpnProtocol }) => String(alpnProtocol))
          assert.strictEqual(found, agreed, ALPNProtocols.join())
        }
      })
    )

    it.scopedLive("is not negotiated anew on an open connection", () =>
      Effect.gen(function* () {
        const tls = yield* certificate
        const server = yield* started(kind, { tls, headersTimeout: "500 millis" })
        const { port } = server.address
        const outcome = yield* Effect.async<string>((resume) => {
          // TLS 1.3 has no such thing.
          const options = { port, host: "127.0.0.1", rejectUnauthorized: false, maxVersion: "TLSv1.2" } as const
          const socket = connect(options, () => {
            socket.renegotiate({ rejectUnauthorized: false }, (error) => {
              resume(Effect.succeed(error === null ? "negotiated anew" : "refused"))
              socket.destroy()
            })
          })
          socket.on("error", () => {})
          socket.on("close", () => resume(Effect.succeed("closed")))
          socket.resume()
        })
        assert.include(["closed", "refused"], outcome)
        assert.strictEqual((yield* get(server.healthUrl, { ca: tls.cert })).status, 200)
      })
    )

    it.scopedLive("keeps serving after clients that do not speak TLS", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const server = yield* serves(kind, { key, cert }, cert)
        const plain = yield* Effect.either(Effect.tryPromise(() => fetch(server.url.replace("https", "http"))))
        assert.strictEqual(plain._tag, "Left")
        assert.strictEqual((yield* get(server.url, { ca: cert })).status, 200)
        assert.isFalse(yield* Effect.promise(() => isFree(server.address.port)))
      })
    )

    for (const { names, title, tls } of unusable) {
      it.scopedLive(`with ${title} is a typed failure that names the file, and no secret`, () =>
        Effect.gen(function* () {
          const given = tls(yield* certificate, yield* certificate)
          const paths = yield* temporaryFiles({ key: text(given.key), cert: given.cert })
          const error = yield* refused(started(kind, { tls: { ...given, ...paths } }))
          assert.strictEqual(error.reason, "Tls")
          for (const name of names) assert.include(error.message, paths[name])
          const inline = yield* refused(started(kind, { tls: given }))
          assert.strictEqual(inline.reason, "Tls")
          for (const { message } of [error, inline]) {
            assert.notInclude(message, passphrase)
            assert.notInclude(message, "-----BEGIN")
          }
        })
      )
    }

    it.scopedLive("with a file that is not there is a typed failure that names it", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const missing = "/nowhere/of/that/name.pem"
        for (const tls of [
          { key: missing, cert },
          { key, cert: missing }
        ]) {
          const error = yield* refused(started(kind, { tls }))
          assert.strictEqual(error.reason, "Tls")
          assert.include(error.message, missing)
          assert.include(error.message, tls.key === missing ? "TLS key" : "TLS certificate")
        }
      })
    )

    it.scopedLive("with a redacted key that lacks its PEM lines is a typed failure that does not show the key", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const [, secret = ""] = key.split("\n")
        const error = yield* refused(started(kind, { tls: { key: Redacted.make(secret), cert } }))
        assert.strictEqual(error.reason, "Tls")
        assert.notInclude(error.message, secret.trim())
        assert.notInclude(String(error.cause), secret.trim())
      })
    )

    it.scopedLive("without its certificate, as from plain JavaScript, is a typed failure that says so", () =>
      Effect.gen(function* () {
        const { key } = yield* certificate
        const error = yield* refused(started(kind, { tls: { key } as never }))
        assert.strictEqual(error.reason, "Tls")
        assert.include(error.message, "the TLS certificate is missing")
      })
    )

    it.scopedLive("with a folder in the place of a file is a typed failure that names it", () =>
      Effect.gen(function* () {
        const { cert, key } = yield* certificate
        const file = yield* temporaryFiles({ key })
        const folder = file.key.replace(/\/key$/, "")
        for (const tls of [
          { key: folder, cert },
          { key, cert: folder }
        ]) {
          const error = yield* refused(started(kind, { tls }))
          assert.strictEqual(error.reason, "Tls")
          assert.include(error.message, folder)
        }
      })
    )
  })
}

describe("A key that leads to no file", () => {
  for (const [given, isShown] of [
    ["/nowhere/of/that/name", true],
    ["./nowhere", true],
    ["../nowhere", true],
    ["C:\\nowhere\\key.pem", true],
    ["C:/nowhere/key.pem", true],
    ["nowhere/of/that/name.pem", false],
    ["nowhere.pem", false],
    // One base64 text of 64 begins so.
    ["/9j4AAQSkZJRgABAQEASABIAADb", false],
    ["/9j4AAQSkZJRgABAQEASABIAAD==", false],
    [`/nowhere/${"a-".repeat(130)}`, false],
    ["/nowhere/\u202ename", false]
  ] as const) {
    it.effect(`is ${isShown ? "shown" : "not shown"} where it is ${JSON.stringify(given.slice(0, 40))}`, () =>
      Effect.gen(function* () {
        const { cert } = yield* certificate
        const { message, reason } = yield* refused(MetricsServer.validate({ tls: { key: given, cert } }))
        assert.strictEqual(reason, "Tls")
        assert.include(message, "(tls.key)")
        if (isShown) assert.include(message, given)
        else assert.include(message, `a string of ${given.length} characters that is not the path of a readable file`)
        if (!isShown) assert.notInclude(message, given.slice(0, 10))
      })
    )
  }
})
