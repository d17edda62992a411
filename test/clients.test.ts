import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import * as Newer from "@prometheus-io/client"
import { Effect } from "effect"
import * as PromClient from "prom-client"
import * as Registry from "../src/Registry.js"
import { fixture, runFixture } from "./support/childProcess.js"
import { overOneClient } from "./support/clientMatrix.js"
import { ask, eventually } from "./support/httpClient.js"
import { root, run } from "./support/snippets.js"

const evaluated = async (code: string) =>
  promisify(execFile)(process.execPath, ["--input-type=module", "-e", code], { cwd: root })

/** Which of the two `npm test` has put there for this run, as the configuration says. */
const expected = process.env["CLIENT_OF_TESTS"]

describe("The client of these tests", () => {
  it("is the one under test, for every import and require", () => {
    const require = createRequire(import.meta.url)
    assert.strictEqual(require("prom-client/package.json").name, expected)
    assert.strictEqual(require("prom-client").Counter, PromClient.Counter)
    assert.strictEqual(Effect.runSync(Registry.Registry), PromClient.register)
  })

  it("is available beside the other one, if a test is about both", () => {
    const require = createRequire(import.meta.url)
    const names = ["prom-client", "@prometheus-io/client"].map((name) => require(`${name}/package.json`).name)
    assert.sameMembers(names, ["prom-client", "@prometheus-io/client"])
    assert.notStrictEqual<unknown>(Newer.Counter, PromClient.Counter)
  })

  it.effect("is the same in the applications that they start, in threads as well", () =>
    Effect.gen(function* () {
      const client = { name: expected, required: true, served: true }
      const { stderr, stdout } = yield* runFixture("resolvedClient.mjs")
      assert.deepStrictEqual(stdout === "" ? stderr : JSON.parse(stdout), { client, inThread: client })
      const compiled = run(fixture("resolvedClient.mjs").pathname)
      yield* Effect.promise(() => compiled.exited)
      assert.deepStrictEqual(JSON.parse(compiled.output()), { client, inThread: client })
    })
  )
})

describe("A metric of another copy of the client", () => {
  // The notice comes once per process, so each row has a process of its own. Under `swapClients.mjs` the names are swapped.
  for (const { how, options, isNoticed } of [
    { how: "is named at a scrape if its registry is not served", options: "{}", isNoticed: true },
    { how: "is not named if its registry is served", options: "{ registry: Other.register }", isNoticed: false }
  ]) {
    it.effect(how, () =>
      Effect.gen(function* () {
        const code = `
          import { timed, webHandler } from "effect-prometheus/Promises"
          const Other = await import("@prometheus-io/client")
          const seconds = new Other.Histogram({ name: "lost_seconds", help: "Of another copy." })
          const lines = []
          console.warn = (line) => lines.push(line)
          const handlers = [webHandler(${options}), webHandler()]
          await timed(seconds)(async () => {})()
          for (const handle of [...handlers, ...handlers]) await handle(new Request("http://localhost/metrics"))
          console.log(JSON.stringify(lines))`
        const { stdout, stderr } = yield* Effect.promise(() => evaluated(code))
        const lines = JSON.parse(stdout === "" ? stderr : stdout) as ReadonlyArray<string>
        assert.strictEqual(lines.length, isNoticed ? 1 : 0, String(lines))
        if (isNoticed) assert.include(lines[0], "the metric lost_seconds is missing in this exposition")
      })
    )
  }
})

describe("A server, if both clients are installed,", () => {
  for (const { how, options, isNamed } of [
    { how: "says whose global registry it exposes", options: "{}", isNamed: true },
    { how: "says nothing of it if a registry is given", options: "{ registry: new Registry() }", isNamed: false }
  ]) {
    it.effect(how, () =>
      Effect.gen(function* () {
        const code = `
          import { startHttpServer } from "effect-prometheus/Promises"
          import { Registry } from "prom-client"
          const lines = []
          const log = (_, line) => lines.push(line)
          const server = await startHttpServer({ host: "127.0.0.1", log, ...${options} })
          await server.close()
          console.log(JSON.stringify(lines))`
        const { stdout, stderr } = yield* Effect.promise(() => evaluated(code))
        const lines = JSON.parse(stdout === "" ? stderr : stdout) as ReadonlyArray<string>
        assert.strictEqual(lines.length, isNamed ? 2 : 1, String(lines))
        if (isNamed) assert.include(lines[1], "the server exposes the global registry of prom-client")
      })
    )
  }
})

describe("An example", () => {
  it.scopedLive("measures over this client", () =>
    Effect.gen(function* () {
      const example = yield* Effect.acquireRelease(
        Effect.sync(() => run(join(root, "examples/timed-request-handler.ts"), { PORT: "0" })),
        ({ child, exited }) => Effect.promise(() => (child.kill("SIGKILL") ? exited : Promise.resolve(null)))
      )
      const listening = (): string | undefined => /Listening on (\S+)\n/.exec(example.output())?.[1]
      yield* eventually("it listens", async () => listening() !== undefined)
      yield* Effect.promise(() => ask(`${listening()}/`))
      const { body } = yield* Effect.promise(() => ask(`${listening()}/metrics`))
      assert.include(body, "\nreq_time_seconds_count 1\n")
      example.child.kill("SIGTERM")
      assert.strictEqual(yield* Effect.promise(() => example.exited), 0, example.output())
    })
  )
})

describe("The tests over one client", () => {
  it("are files that are there, each with a reason", () => {
    const files = Object.values(overOneClient).flat()
    assert.deepEqual(
      files.filter((file) => !existsSync(join(root, file))),
      []
    )
    assert.strictEqual(new Set(files).size, files.length)
    for (const reason of Object.keys(overOneClient)) assert.match(reason, /\w+ \w+/)
  })
})
