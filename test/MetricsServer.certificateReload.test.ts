import { once } from "node:events"
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises"
import { Agent } from "node:https"
import { dirname, join } from "node:path"
import { connect as secureConnect } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Certificate } from "./support/certificates.js"
import {
  authority,
  awaitCertificate,
  certificate,
  localhostNames,
  replaceFile,
  temporaryFiles
} from "./support/certificates.js"
import { fixture } from "./support/childProcess.js"
import { ask, eventually, get, outcome, type RawConnection, rawConnection, requestLines } from "./support/httpClient.js"
import { inWorker, type ServerKind, serverKinds, someMetrics, started, stoppable } from "./support/servers.js"
import { assertInTime, itInTime } from "./support/timing.js"

const reloadInterval = "20 millis"

interface Logged {
  readonly lines: ReadonlyArray<{ readonly level: string; readonly message: string }>
}

const errors = ({ lines }: Logged): ReadonlyArray<string> =>
  lines.filter(({ level }) => level === "ERROR").map(({ message }) => message)

const reloads = ({ lines }: Logged): number =>
  lines.filter(({ message }) => message.includes("reloaded the changed TLS files")).length

/** The certificate first, as some do: for a moment it does not fit the key. */
const replacedBoth = (paths: Certificate, by: Certificate) =>
  Effect.zipRight(replaceFile(paths.cert, by.cert), replaceFile(paths.key, by.key))

const serving = (kind: ServerKind, issued: Effect.Effect<Certificate> = certificate) =>
  Effect.gen(function* () {
    const own = yield* issued
    const paths = yield* temporaryFiles({ ...own })
    const server = yield* stoppable(kind, { tls: { ...paths, reloadInterval } }, { registry: someMetrics() })
    return { ...server, own, paths }
  })

const keptAlive = Effect.acquireRelease(
  Effect.sync(() => new Agent({ keepAlive: true, maxSockets: 1 })),
  (agent) => Effect.sync(() => agent.destroy())
)

for (const kind of serverKinds) {
  describe(`the certificate of a metrics server ${kind.name}`, () => {
    itInTime("is replaced under load without a failed scrape, and without an open connection that ends", function* () {
      const trusted = yield* authority()
      const { paths, ...server } = yield* serving(kind, trusted.issue())
      const ca = trusted.cert
      const generations = [1, 2, 3, 4, 5]
      const agents = yield* Effect.replicateEffect(keptAlive, 4)
      const count = { fresh: 0, kept: 0, failed: 0 }
      let going = true
      const scraping = async (agent?: Agent): Promise<void> => {
        for (let first = true; going; first = false) {
          const answer = await ask(server.url, agent === undefined ? { ca } : { ca, agent }).catch(() => undefined)
          count[agent === undefined ? "fresh" : "kept"] += 1
          if (answer?.status !== 200 || (agent !== undefined && !first && !answer.reused)) count.failed += 1
        }
      }
      const load = Promise.all([undefined, undefined, ...agents].map((agent) => scraping(agent)))
      for (const generation of generations) {
        const names = [...localhostNames, { type: 2 as const, value: `generation-${generation}` }]
        yield* replacedBoth(paths, yield* trusted.issue({ names }))
        const asked = outcome(server.url, { ca, servername: `generation-${generation}` })
        yield* eventually("it shows the new one", async () => (await Effect.runPromise(asked)) === 200)
      }
      going = false
      yield* Effect.promise(() => load)
      console.log(
        `${kind.name}: ${generations.length} certificates replaced under load, ${count.fresh} scrapes on new connections, ` +
          `${count.kept} on ${agents.length} that stayed open, ${count.failed} failed`
      )
      assert.strictEqual(count.failed, 0)
      for (const many of [count.fresh, count.kept]) assertInTime(many > 20, `only ${many} scrapes`)
      assert.isAtLeast(reloads(server), generations.length)
    })

    it.scopedLive(
      "stays while the new one is broken, which is logged once with the file, until the next good one",
      () =>
        Effect.gen(function* () {
          const { own, paths, ...server } = yield* serving(kind)
          const next = yield* certificate
          yield* replaceFile(paths.cert, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
          yield* eventually("it is logged", async () => errors(server).length > 0)
          assert.include(errors(server)[0], paths.cert)
          assert.include(errors(server)[0], "cannot be used")
          assert.strictEqual((yield* get(server.url, { ca: own.cert })).status, 200)
          // Another broken content is logged, and the same one was not logged again until then.
          yield* replaceFile(paths.cert, next.cert)
          yield* eventually("it is logged", async () => errors(server).length > 1)
          assert.strictEqual(errors(server).length, 2)
          assert.include(errors(server)[1], paths.key)
          assert.strictEqual((yield* get(server.url, { ca: own.cert })).status, 200)
          assert.strictEqual(reloads(server), 0)
          yield* replaceFile(paths.key, next.key)
          yield* awaitCertificate(server.url, next)
          assert.strictEqual(reloads(server), 1)
          for (const { message } of server.lines) assert.notInclude(message, "-----BEGIN")
        })
    )

    it.scopedLive("stays while its file is gone, and is taken up when it is back", () =>
      Effect.gen(function* () {
        const { own, paths, ...server } = yield* serving(kind)
        yield* Effect.promise(() => rm(paths.cert))
        yield* eventually("it is logged", async () => errors(server).length > 0)
        assert.include(errors(server)[0], paths.cert)
        yield* Effect.sleep("100 millis")
        assert.strictEqual(errors(server).length, 1)
        assert.strictEqual((yield* get(server.url, { ca: own.cert })).status, 200)
        const next = yield* certificate
        yield* replaceFile(paths.key, next.key)
        yield* replaceFile(paths.cert, next.cert)
        yield* awaitCertificate(server.url, next)
      })
    )

    it.scopedLive("is taken up where a link to its folder is replaced, as Kubernetes does", () =>
      Effect.gen(function* () {
        const own = yield* certificate
        const next = yield* certificate
        const folder = dirname((yield* temporaryFiles({ placeholder: "" })).placeholder)
        const generation = (name: string, { cert, key }: Certificate) =>
          Effect.promise(async () => {
            await mkdir(join(folder, name))
            await writeFile(join(folder, name, "tls.key"), key)
            await writeFile(join(folder, name, "tls.crt"), cert)
            await symlink(name, join(folder, "..data.new"))
            await rename(join(folder, "..data.new"), join(folder, "..data"))
          })
        yield* generation("..1", own)
        for (const name of ["tls.key", "tls.crt"]) {
          yield* Effect.promise(() => symlink(join("..data", name), join(folder, name)))
        }
        const tls = { key: join(folder, "tls.key"), cert: join(folder, "tls.crt"), reloadInterval } as const
        const server = yield* started(kind, { tls })
        assert.strictEqual((yield* get(server.url, { ca: own.cert })).status, 200)
        yield* generation("..2", next)
        yield* awaitCertificate(server.url, next)
        assert.deepEqual(errors(server), [])
      })
    )

    it.scopedLive("is not looked for again where it was given as text, or reloading is off", () =>
      Effect.gen(function* () {
        const { own, paths, ...server } = yield* serving(kind)
        const off = yield* started(kind, { tls: { ...paths, reloadInterval: false } })
        const text = yield* started(kind, { tls: { ...own, reloadInterval } })
        const next = yield* certificate
        yield* replacedBoth(paths, next)
        yield* awaitCertificate(server.url, next)
        for (const quiet of [off, text]) {
          assert.strictEqual((yield* get(quiet.url, { ca: own.cert })).status, 200)
          assert.strictEqual(reloads(quiet), 0)
        }
      })
    )

    it.scopedLive("is not looked at any more once the server is closed", () =>
      Effect.gen(function* () {
        const paths = yield* temporaryFiles({ ...(yield* certificate) })
        const other = yield* started(kind, { tls: { ...paths, reloadInterval } })
        const server = yield* stoppable(kind, { tls: { ...paths, reloadInterval } })
        yield* server.stop
        const next = yield* certificate
        yield* replacedBoth(paths, next)
        yield* awaitCertificate(other.url, next)
        assert.strictEqual(reloads(other), 1)
        assert.strictEqual(reloads(server), 0)
      })
    )
  })

  /** A server whose clients need a certificate of the old authority, and one client of it and one of the next. */
  const asking = Effect.gen(function* () {
    const [old, next] = [yield* authority("old"), yield* authority("next")]
    const { cert: ca, ...own } = yield* certificate
    const paths = yield* temporaryFiles({ ca: old.cert })
    const server = yield* started(kind, { tls: { ...own, cert: ca, ...paths, reloadInterval } })
    const [before, after] = [yield* old.issue(), yield* next.issue()]
    const asked = (client: Certificate) => outcome(server.url, { ca, ...client })
    const replace = Effect.zipRight(
      replaceFile(paths.ca, next.cert),
      eventually("the new one is let in", async () => (await Effect.runPromise(asked(after))) === 200)
    )
    return { server, ca, before, after, asked, replace }
  })

  describe(`the authorities of the clients of a metrics server ${kind.name}`, () => {
    it.scopedLive("are replaced: who was let in by the old ones is refused, at the latest after one more answer", () =>
      Effect.gen(function* () {
        const { after, asked, before, ca, replace, server } = yield* asking
        const agent = yield* keptAlive
        const kept = get(server.url, { ca, ...before, agent })
        assert.strictEqual((yield* kept).status, 200)
        assert.strictEqual(yield* asked(before), 200)
        assert.notTypeOf(yield* asked(after), "number")
        yield* replace
        assert.notTypeOf(yield* asked(before), "number")
        const last = yield* kept
        assert.deepEqual([last.status, last.reused, last.headers.connection], [200, true, "close"])
        assert.notTypeOf(yield* outcome(server.url, { ca, ...before, agent }), "number")
      })
    )

    it.scopedLive("are replaced also for a connection that came before, and speaks TLS only now", () =>
      Effect.gen(function* () {
        const { asked, before, ca, replace, server } = yield* asking
        const held = yield* Effect.replicateEffect(rawConnection(server.address.port), 2)
        // Connections are accepted in turn: after this answer the ones before have been as well.
        assert.strictEqual(yield* asked(before), 200)
        const answers = ({ socket }: RawConnection) =>
          Effect.promise(async () => {
            const secured = secureConnect({ socket, host: "127.0.0.1", ca, ...before })
            secured.on("error", () => {})
            secured.write(requestLines("/"))
            let text = ""
            secured.on("data", (part) => {
              text += part
              if (text.endsWith("</html>\n")) secured.destroy()
            })
            await once(secured, "close")
            return text
          })
        const [first, second] = held as [RawConnection, RawConnection]
        assert.match(yield* answers(first), /^HTTP\/1\.1 200 /)
        yield* replace
        assert.strictEqual(yield* answers(second), "")
      })
    )

    it.scopedLive("are still required, and the minimum TLS version still applies", () =>
      Effect.gen(function* () {
        const trusted = yield* authority()
        const own = yield* certificate
        const paths = yield* temporaryFiles({ ...own })
        const tls = { ...paths, reloadInterval, ca: trusted.cert, minVersion: "TLSv1.3", allowedNames: ["a"] } as const
        const server = yield* started(kind, { tls })
        const next = yield* certificate
        yield* replacedBoth(paths, next)
        yield* eventually("it is taken up", async () => reloads(server) > 0)
        const asked = (client: Partial<Certificate>, maxVersion: "TLSv1.2" | "TLSv1.3" = "TLSv1.3") =>
          outcome(server.url, { ca: next.cert, ...client, maxVersion })
        const named = yield* trusted.issue({ names: [{ type: 2, value: "a" }] })
        yield* eventually("it is in use", async () => (await Effect.runPromise(asked(named))) === 200)
        assert.strictEqual(yield* asked(yield* trusted.issue()), 403)
        assert.notTypeOf(yield* asked({}), "number")
        assert.strictEqual(yield* asked(named, "TLSv1.2"), "EPROTO")
      })
    )
  })
}

describe("a worker that dies", () => {
  it.scopedLive("is restarted with the certificate that was reloaded last", () =>
    Effect.gen(function* () {
      const own = yield* certificate
      const paths = yield* temporaryFiles({ ...own })
      const workerUrl = fixture("killable-worker.js")
      const server = yield* started(inWorker, { tls: { ...paths, reloadInterval }, workerUrl })
      const next = yield* certificate
      yield* replacedBoth(paths, next)
      yield* awaitCertificate(server.url, next)
      const channel = new BroadcastChannel("killable-worker")
      channel.postMessage("exit")
      channel.close()
      yield* eventually("it has died", async () => errors(server).some((message) => message.includes("restarting it")))
      yield* awaitCertificate(server.url, next)
    })
  )
})
