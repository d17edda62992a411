/** Files of keys and certificates that block, never end, or are not regular files. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, rm, symlink, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as MetricsServer from "../src/MetricsServer.js"
import { awaitCertificate, certificate, replaceFile, temporaryFiles } from "./support/certificates.js"
import { eventually, get } from "./support/httpClient.js"
import { refused, serverKinds, started } from "./support/servers.js"
import { occupied } from "./support/threadPool.js"
import { assertWithin } from "./support/timing.js"

const run = promisify(execFile)

/** What is there in the place of a file; it never waits for the file. */
interface Wrong {
  readonly title: string
  readonly put: (path: string) => Promise<unknown>
  readonly shown: string
}

const most = 4_194_304

const wrong: ReadonlyArray<Wrong> = [
  { title: "a pipe without a writer", put: (path) => run("mkfifo", [path]), shown: "it is a pipe" },
  {
    title: "a link to a pipe without a writer",
    put: async (path) => {
      await run("mkfifo", [`${path}.pipe`])
      await symlink(`${path}.pipe`, path)
    },
    shown: "it is a pipe"
  },
  {
    title: "a device without an end",
    put: (path) => symlink("/dev/zero", path),
    shown: "it is a device"
  },
  { title: "a folder", put: (path) => mkdir(path), shown: "it is a directory" },
  {
    title: "a socket",
    put: async (path) => {
      const server = createServer().listen(path)
      await once(server, "listening")
      server.unref()
    },
    shown: "it is a device or a socket"
  },
  { title: "a link to itself", put: (path) => symlink(path, path), shown: "ELOOP" },
  { title: "a huge file", put: (path) => writeFile(path, Buffer.alloc(most + 1, "A")), shown: "longer than 4194304" },
  { title: "nothing", put: async () => {}, shown: "it does not exist" }
]

const put = ({ put }: Wrong, path: string) =>
  Effect.promise(async () => {
    await rm(path, { recursive: true, force: true })
    await put(path)
  })

const options = ["key", "cert", "ca"] as const

for (const kind of serverKinds) {
  describe(`A metrics server ${kind.name} whose file of TLS`, () => {
    for (const one of wrong) {
      it.scopedLive(`is ${one.title} does not start, with a typed failure that names option and path`, () =>
        Effect.gen(function* () {
          const own = yield* certificate
          for (const option of options) {
            const paths = yield* temporaryFiles({ ...own, ca: own.cert })
            yield* put(one, paths[option])
            const tls = { ...paths, key: Redacted.make(paths.key), clientCertificate: "none" } as const
            const start = performance.now()
            const error = yield* refused(started(kind, { tls }))
            assert.strictEqual(error.reason, "Tls")
            for (const part of [`(tls.${option})`, paths[option], one.shown]) assert.include(error.message, part)
            assertWithin(performance.now() - start, 10_000)
          }
        })
      )

      it.scopedLive(`becomes ${one.title} logs that once, keeps the old one, and takes the next good one`, () =>
        Effect.gen(function* () {
          const own = yield* certificate
          const paths = yield* temporaryFiles({ ...own })
          const server = yield* started(kind, { tls: { ...paths, reloadInterval: "20 millis" } })
          const errors = () => server.lines.filter(({ level }) => level === "ERROR").map(({ message }) => message)
          yield* put(one, paths.cert)
          const said = () => errors().filter((message) => message.includes(one.shown))
          yield* eventually("it is said", async () => said().length > 0)
          for (const part of ["(tls.cert)", paths.cert, "the previous ones stay in use"])
            assert.include(said()[0], part)
          assert.strictEqual((yield* get(server.url, { ca: own.cert })).status, 200)
          const next = yield* certificate
          yield* replaceFile(paths.key, next.key)
          yield* replaceFile(paths.cert, next.cert)
          yield* awaitCertificate(server.url, next)
          assert.strictEqual(said().length, 1)
        })
      )
    }

    it.scopedLive("is not answered for is given up after five seconds, once, and taken up when it answers", () =>
      Effect.gen(function* () {
        const own = yield* certificate
        const paths = yield* temporaryFiles({ ...own })
        const server = yield* started(kind, { tls: { ...paths, reloadInterval: "20 millis" } })
        const next = yield* certificate
        yield* replaceFile(paths.key, next.key)
        yield* replaceFile(paths.cert, next.cert)
        yield* awaitCertificate(server.url, next)
        const release = yield* occupied
        const late = () => server.lines.filter(({ message }) => message.includes("did not respond"))
        yield* eventually("it is said", async () => late().length > 0)
        for (const part of ["(tls.", dirname(paths.key), "within 5 seconds (ETIMEDOUT)"]) {
          assert.include(late()[0]?.message, part)
        }
        const refusal = yield* refused(MetricsServer.validate({ tls: paths }))
        assert.include(refusal.message, "did not respond within 5 seconds")
        assert.strictEqual(late().length, 1)
        yield* release
        const last = yield* certificate
        yield* replaceFile(paths.key, last.key)
        yield* replaceFile(paths.cert, last.cert)
        yield* awaitCertificate(server.url, last)
      })
    )

    it.scopedLive("grows while it is read is read to an end, or given up", () =>
      Effect.gen(function* () {
        const own = yield* certificate
        const paths = yield* temporaryFiles({ ...own })
        const writer = spawn("sh", ["-c", 'while :; do cat /bin/sh >> "$0"; done', paths.cert])
        yield* Effect.addFinalizer(() => Effect.sync(() => writer.kill("SIGKILL")))
        yield* Effect.sleep("50 millis")
        const start = performance.now()
        const exit = yield* Effect.exit(MetricsServer.validate({ tls: paths }))
        writer.kill("SIGKILL")
        assertWithin(performance.now() - start, 10_000)
        if (exit._tag === "Failure") assert.include(String(exit.cause), paths.cert)
      })
    )
  })
}

describe("A Consul agent whose file", () => {
  for (const one of wrong) {
    it.scopedLive(`of TLS or of the token is ${one.title} is a typed failure that names option and path`, () =>
      Effect.gen(function* () {
        const own = yield* certificate
        const paths = yield* temporaryFiles({ ...own, ca: own.cert, token: "t" })
        for (const option of options) {
          const { token: _, ...tls } = paths
          const folder = yield* temporaryFiles({ placeholder: "" })
          const path = join(dirname(folder.placeholder), option)
          yield* put(one, path)
          const error = yield* Effect.flip(Effect.scoped(ConsulAgent.make({ tls: { ...tls, [option]: path } })))
          assert.strictEqual(error.reason, "InvalidOptions")
          for (const part of [`(tls.${option})`, path, one.shown]) assert.include(error.message, part)
        }
        yield* put(one, paths.token)
        const variables = new Map([["CONSUL_HTTP_TOKEN_FILE", paths.token]])
        const error = yield* Effect.flip(
          Effect.provide(ConsulAgent.fromEnv, Layer.setConfigProvider(ConfigProvider.fromMap(variables)))
        )
        for (const part of ["CONSUL_HTTP_TOKEN_FILE", paths.token]) assert.include(String(error), part)
      })
    )
  }
})
