/** What a metrics server exposes of its certificate and of its registration. */
import { X509Certificate } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type * as MetricsServer from "../src/MetricsServer.js"
import type * as ServiceDiscovery from "../src/ServiceDiscovery.js"
import {
  authority,
  awaitCertificate,
  type Certificate,
  type CertificateOptions,
  replaceFile,
  selfSigned,
  temporaryFiles
} from "./support/certificates.js"
import { formats, logged, parsers } from "./support/expositions.js"
import { eventually, get } from "./support/httpClient.js"
import { mounts } from "./support/mounts.js"
import { inThisThread, serverKinds, someMetrics, started, stoppable } from "./support/servers.js"

const expiry = "effect_prometheus_certificate_expiry_timestamp_seconds"
const registered = "effect_prometheus_registered"

/** The value of a metric without labels; undefined if it has no series. */
const valueIn = (body: string, name: string): number | undefined => {
  const samples = parsers.text(body).find((family) => family.name === name)?.samples ?? []
  assert.isAtMost(samples.length, 1)
  for (const { labels } of samples) assert.strictEqual(labels.size, 0)
  return samples[0]?.value
}

const asked = (url: string, name: string, ca?: string) =>
  Effect.map(get(url, ca === undefined ? {} : { ca }), ({ body }) => valueIn(body, name))

const day = 86_400_000

/** A moment so many days from now. Certificates know whole seconds. */
const inDays = (days: number): Date => new Date(Math.floor(Date.now() / 1e3) * 1e3 + days * day)

const seconds = (date: Date): number => date.getTime() / 1e3

const until = (date: Date, options: CertificateOptions = {}) =>
  Effect.promise(() => selfSigned({ ...options, validFrom: inDays(-1), until: date }))

const discovery = (isRegistered: () => Effect.Effect<boolean>): ServiceDiscovery.Discovery => ({
  register: () => Effect.void,
  isRegistered
})

for (const kind of serverKinds) {
  describe(`${expiry} of a metrics server ${kind.name}`, () => {
    const serve = (tls: MetricsServer.Options["tls"], registry = someMetrics()) =>
      stoppable(kind, tls === undefined ? {} : { tls }, { registry })

    it.scopedLive("has no series without TLS, in both formats", () =>
      Effect.gen(function* () {
        const { url } = yield* serve(undefined)
        for (const format of formats) {
          const accept = format === "text" ? "text/plain" : "application/openmetrics-text"
          const { body } = yield* get(url, { headers: { accept } })
          const family = parsers[format](body).find(({ name }) => name === expiry)
          assert.deepInclude(family, { type: "gauge", samples: [] })
        }
      })
    )

    const chains: ReadonlyArray<readonly [title: string, days: ReadonlyArray<number>, expected: number]> = [
      ["the only certificate", [40], 40],
      ["the leaf, which ends before its authority", [40, 90], 40],
      ["the authority, which ends before the leaf", [40, 20], 20],
      ["a certificate that has ended", [-0.5], -0.5],
      ["the first of three to end", [50, 30, 70], 30]
    ]
    for (const [title, days, expected] of chains) {
      it.scopedLive(`is the end of ${title}`, () =>
        Effect.gen(function* () {
          const ends = days.map(inDays)
          const all = yield* Effect.forEach(ends, (end, at) =>
            until(end, { commonName: at === 0 ? "localhost" : `ca ${at}` })
          )
          const [leaf] = all as [Certificate, ...ReadonlyArray<Certificate>]
          // A chain is not verified by the server that sends it.
          const cert = all.map((one) => one.cert).join("\n# the next one\n")
          const registry = someMetrics()
          yield* serve({ key: leaf.key, cert }, registry)
          // No client trusts a certificate that has ended.
          const plain = yield* serve(undefined, registry)
          assert.strictEqual(yield* asked(plain.url, expiry), seconds(ends[days.indexOf(expected)] ?? new Date(0)))
        })
      )
    }

    it.scopedLive("is that of an intermediate authority between the leaf and the trusted one", () =>
      Effect.gen(function* () {
        const root = yield* authority("root")
        const [end, last] = [inDays(25), inDays(60)]
        const intermediate = yield* root.issueAuthority({
          commonName: "intermediate",
          validFrom: inDays(-1),
          until: end
        })
        const leaf = yield* intermediate.issue({ validFrom: inDays(-1), until: last })
        const { url } = yield* serve({ key: leaf.key, cert: `${leaf.cert}\n${intermediate.cert}` })
        assert.strictEqual(Date.parse(new X509Certificate(leaf.cert).validTo), last.getTime())
        assert.strictEqual(yield* asked(url, expiry, root.cert), seconds(end))
      })
    )

    it.scopedLive("follows a reload, and stays if the new files cannot be used", () =>
      Effect.gen(function* () {
        const [before, after] = [yield* until(inDays(10)), yield* until(inDays(100))]
        const paths = yield* temporaryFiles({ ...before })
        const options = { tls: { ...paths, reloadInterval: "20 millis" } } as const
        const server = yield* started(kind, options, { registry: someMetrics() })
        const { url } = server
        const first = yield* asked(url, expiry, before.cert)
        assert.strictEqual(first, Date.parse(new X509Certificate(before.cert).validTo) / 1e3)
        yield* replaceFile(paths.cert, "no certificate")
        yield* eventually("it is refused", async () => server.lines.some(({ level }) => level === "ERROR"))
        assert.strictEqual(yield* asked(url, expiry, before.cert), first)
        yield* replaceFile(paths.key, after.key)
        yield* replaceFile(paths.cert, after.cert)
        yield* awaitCertificate(url, after)
        const end = Date.parse(new X509Certificate(after.cert).validTo) / 1e3
        // The server has the new certificate a moment before the metric.
        yield* eventually("the metric follows", async () => {
          return (await Effect.runPromise(asked(url, expiry, after.cert))) === end
        })
      })
    )

    it.scopedLive(
      "is the earliest of the servers of a registry, without those that are closed and those without TLS",
      () =>
        Effect.gen(function* () {
          const registry = someMetrics()
          const [soon, later] = [inDays(5), inDays(50)]
          const plain = yield* serve(undefined, registry)
          assert.isUndefined(yield* asked(plain.url, expiry))
          const one = yield* serve(yield* until(later), registry)
          assert.strictEqual(yield* asked(plain.url, expiry), seconds(later))
          const two = yield* serve(yield* until(soon), registry)
          assert.strictEqual(yield* asked(plain.url, expiry), seconds(soon))
          yield* two.stop
          assert.strictEqual(yield* asked(plain.url, expiry), seconds(later))
          yield* one.stop
          assert.isUndefined(yield* asked(plain.url, expiry))
          assert.isUndefined(yield* asked((yield* serve(undefined)).url, expiry))
        })
    )

    it.scopedLive("is there while the server is not registered yet", () =>
      logged(function* () {
        const registry = someMetrics()
        const end = inDays(7)
        const [registers, done] = [yield* Deferred.make<string>(), yield* Deferred.make<void>()]
        const slow: ServiceDiscovery.Discovery = {
          register: ({ url }) => Effect.zipRight(Deferred.succeed(registers, url), Deferred.await(done))
        }
        const certificate = yield* until(end)
        const starting = yield* Effect.fork(started(kind, { tls: certificate }, { registry, discovery: slow }))
        assert.strictEqual(yield* asked(yield* Deferred.await(registers), expiry, certificate.cert), seconds(end))
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.join(starting)
      })
    )

    it.scopedLive("and the registration are not exposed without metrics about the endpoint", () =>
      Effect.gen(function* () {
        const certificate = yield* until(inDays(7))
        const around = { registry: someMetrics(), discovery: discovery(() => Effect.succeed(true)) }
        const { url } = yield* started(kind, { selfMetrics: false, tls: certificate }, around)
        const { body } = yield* get(url, { ca: certificate.cert })
        assert.notInclude(body, expiry)
        assert.notInclude(body, registered)
      })
    )
  })

  describe(`${registered} of a metrics server ${kind.name}`, () => {
    it.scopedLive("has no series without a service discovery, also after one with it has closed", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        const plain = yield* started(kind, {}, { registry })
        assert.isUndefined(yield* asked(plain.url, registered))
        const other = yield* stoppable(kind, {}, { registry, discovery: discovery(() => Effect.succeed(true)) })
        for (const { url } of [plain, other]) assert.strictEqual(yield* asked(url, registered), 1)
        yield* other.stop
        assert.isUndefined(yield* asked(plain.url, registered))
      })
    )

    const answers: ReadonlyArray<readonly [title: string, answer: () => Effect.Effect<boolean>, expected: number]> = [
      ["is registered", () => Effect.succeed(true), 1],
      ["is not registered", () => Effect.succeed(false), 0],
      ["does not know that at once", () => Effect.delay(Effect.succeed(true), "1 minute"), 0],
      ["dies", () => Effect.die("no"), 0]
    ]
    for (const [title, answer, expected] of answers) {
      it.scopedLive(`is ${expected} with a discovery that ${title}, beside a server without one`, () =>
        Effect.gen(function* () {
          const registry = someMetrics()
          const plain = yield* started(inThisThread, {}, { registry })
          const { url } = yield* started(kind, {}, { registry, discovery: discovery(answer) })
          for (const target of [url, plain.url]) assert.strictEqual(yield* asked(target, registered), expected)
        })
      )
    }
  })
}

describe("An application's own server", () => {
  for (const { name, start } of mounts) {
    it.scopedLive(
      `exposes the certificate and the registration of a metrics server of its registry only: ${name}`,
      () =>
        logged(function* () {
          const registry = someMetrics()
          const ask = yield* start(registry)
          const both = Effect.map(ask("/metrics"), ({ bytes }) =>
            [expiry, registered].map((name) => valueIn(bytes.toString(), name))
          )
          assert.deepStrictEqual(yield* both, [undefined, undefined])
          assert.notInclude((yield* ask("/metrics")).bytes.toString(), registered)
          const end = inDays(3)
          const around = { registry, discovery: discovery(() => Effect.succeed(true)) }
          const server = yield* stoppable(inThisThread, { tls: yield* until(end) }, around)
          assert.deepStrictEqual(yield* both, [seconds(end), 1])
          yield* server.stop
          assert.deepStrictEqual(yield* both, [undefined, undefined])
        })
    )
  }
})
