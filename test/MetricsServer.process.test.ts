import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { temporaryFiles } from "./support/certificates.js"
import { fixture, type ProcessResult, runFixture } from "./support/childProcess.js"
import { get } from "./support/httpClient.js"
import { inWorker, someMetrics, started, workerUrl } from "./support/servers.js"
import { assertWithin, itInTime } from "./support/timing.js"

/** A process that served, was scraped, closed its server, and then ended by itself. */
const assertServed = ({ code, lingered, signal, stderr, stdout }: ProcessResult): void => {
  assert.deepStrictEqual({ code, signal }, { code: 0, signal: null }, stderr)
  assert.include(stdout, '{"scraped":true}\n')
  assert.include(stdout, "closed\n")
  assertWithin(lingered, 3_000, "its end")
}

const preload = fixture("preload.mjs").href

const concurrent = { concurrent: true }

describe("an application on the built package", () => {
  for (const way of ["layer", "layerWorker", "startHttpServer"]) {
    itInTime(
      `can be scraped, and nothing keeps it alive after it has closed the server of ${way}`,
      function* () {
        assertServed(yield* runFixture("serverProcess.mjs", { args: [way] }))
      },
      concurrent
    )
  }

  for (const [where, options] of [
    ["on the command line", { execArgv: ["--import", preload] }],
    ["in NODE_OPTIONS", { env: { NODE_OPTIONS: `${process.env["NODE_OPTIONS"] ?? ""} --import ${preload}` } }]
  ] as const) {
    itInTime(
      `can import startHttpServerInThread, whose worker does not inherit the flags ${where}, such as a preload`,
      function* () {
        const ended = yield* runFixture("serverProcess.mjs", { args: ["startHttpServerInThread"], ...options })
        assertServed(ended)
        assert.include(ended.stdout, "preloaded in the main thread\n")
        assert.notInclude(ended.stdout, "preloaded in a worker\n")
      },
      concurrent
    )
  }

  itInTime(
    "can require startHttpServerInThread from CommonJS",
    function* () {
      assertServed(yield* runFixture("commonjs.cjs"))
    },
    concurrent
  )

  for (const way of ["startHttpServer", "startHttpServerInThread"]) {
    it.live(
      `has a port for each process of node:cluster that serves with ${way}, and no two share one`,
      () =>
        Effect.gen(function* () {
          const served = (port: number) =>
            Effect.map(runFixture("cluster.mjs", { args: [String(port), way] }), ({ stderr, stdout }) => {
              assert.strictEqual(stderr, "")
              return JSON.parse(stdout)
            })
          const [{ port }, { port: other }] = yield* served(0)
          assert.notStrictEqual(port, other)
          assert.deepStrictEqual(yield* served(port), [
            { port },
            { _tag: "MetricsServerError", reason: "AddressInUse" }
          ])
        }),
      concurrent
    )
  }

  for (const type of ["commonjs", "module"]) {
    it.scopedLive(
      `starts a copy of the worker's file beside its bundle, in a package of type ${type}`,
      () =>
        Effect.gen(function* () {
          const copy = yield* temporaryFiles({
            "package.json": JSON.stringify({ type }),
            "worker.mjs": readFileSync(workerUrl, "utf8")
          })
          const server = yield* started(inWorker, { workerUrl: copy["worker.mjs"] }, { registry: someMetrics() })
          assert.include((yield* get(server.url)).body, "jobs_total 3\n")
        }),
      concurrent
    )
  }

  itInTime(
    "gets a typed failure from an entry file that says what no message of the library is",
    function* () {
      const { code, stderr, stdout } = yield* runFixture("workerEntry.mjs", { args: ["./unknown-message-worker.js"] })
      assert.strictEqual(code, 0, stderr)
      assert.include(stdout, '"name":"MetricsServerError","reason":"Worker"')
      assert.include(stdout, "unknown-message-worker.js")
    },
    concurrent
  )

  for (const way of ["layer", "layerWorker"]) {
    itInTime(
      `takes the registration of MetricsServer.${way} back on SIGTERM while it still answers, and ends`,
      function* () {
        const signal = { on: "registered", name: "SIGTERM" } as const
        const ended = yield* runFixture("nodeRuntime.mjs", { args: [way], signal })
        assert.include(ended.stdout, "taken back while it answers 200\n", ended.stderr)
        assert.notStrictEqual(ended.signal, "SIGKILL")
        assertWithin(ended.lingered, 3_000, "its end")
      },
      concurrent
    )
  }
})
