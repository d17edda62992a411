import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { root } from "./support/snippets.js"

/** Runs a program in a process of its own, where the package resolves by its name, and gives what it printed as JSON. */
const evaluated = (kind: "module" | "commonjs", code: string): unknown => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [`--input-type=${kind}`, "-e", code], {
    cwd: root,
    encoding: "utf8"
  })
  assert.strictEqual(status, 0, stderr)
  return JSON.parse(stdout)
}

/** What a fresh process looks for when it imports that: each import with who has it and where it led to. */
const loadedBy = (name: string) =>
  evaluated(
    "module",
    `import { register } from "node:module"
     const loader = "data:text/javascript," + encodeURIComponent(
       "let port; export const initialize = (data) => { port = data };" +
       "export const resolve = async (specifier, context, next) => {" +
       "  const found = await next(specifier, context);" +
       "  port.postMessage({ specifier, parent: context.parentURL, url: found.url });" +
       "  return found" +
       "}"
     )
     const { MessageChannel, receiveMessageOnPort } = await import("node:worker_threads")
     const { port1, port2 } = new MessageChannel()
     register(loader, { data: port2, transferList: [port2] })
     await import(${JSON.stringify(name)})
     const found = []
     for (let message; (message = receiveMessageOnPort(port1)); ) found.push(message.message)
     port1.close()
     console.log(JSON.stringify(found))`
  ) as ReadonlyArray<{ readonly specifier: string; readonly parent?: string; readonly url: string }>

/** One program with both formats of the package: each statement of `code` sees `required` and `imported`. */
const withBoth = (code: string): unknown =>
  evaluated(
    "commonjs",
    `const required = require("effect-prometheus")
     const warnings = []
     process.on("warning", ({ message }) => warnings.push(message))
     import("effect-prometheus").then(async (imported) => {
       const both = [required, imported]
       const { Effect, Exit, Layer, Scope } = require("effect")
       const { Counter, Gauge, Histogram, Registry, register } = require("prom-client")
       const value = async (metric) => (await metric.get()).values[0]?.value
       ${code}
     })`
  )

describe("Both formats of the package in one process", () => {
  it("are two copies with one registry, and no warning", () => {
    const seen = withBoth(`
      await new Promise(setImmediate)
      console.log(JSON.stringify({
        isOther: required.Metrics.timed !== imported.Metrics.timed,
        registries: both.map(({ Registry }) => Effect.runSync(Registry.Registry) === register),
        warnings
      }))`)
    assert.deepEqual(seen, { isOther: true, registries: [true, true], warnings: [] })
  })

  it("use the registry that is provided with the other one", () => {
    const seen = withBoth(`
      const registry = new Registry()
      new Counter({ name: "a_total", help: "a", registers: [registry] })
      const bodies = both.map(({ Exposition }, at) =>
        Effect.runPromise(Effect.provide(Exposition.render(), both[1 - at].Registry.layer(registry))))
      console.log(JSON.stringify((await Promise.all(bodies)).map(({ body }) => body.includes("a_total 0"))))`)
    assert.deepEqual(seen, [true, true])
  })

  it("count a request once, and the metrics of the process and of Effect once", () => {
    const seen = withBoth(`
      const { createServer } = require("node:http")
      const { once } = require("node:events")
      const { Metric } = require("effect")
      const middlewares = both.map(({ Promises }) => Promises.httpMetrics())
      const server = createServer((request, response) => {
        for (const middleware of middlewares) middleware(request, response, () => {})
        response.end()
      })
      await once(server.listen(0, "127.0.0.1"), "listening")
      await (await fetch("http://127.0.0.1:" + server.address().port)).text()
      server.close()
      const layers = both.flatMap(({ DefaultMetrics, EffectMetrics }) => [DefaultMetrics.layer(), EffectMetrics.layer()])
      const scope = Effect.runSync(Scope.make())
      for (const layer of layers) await Effect.runPromise(Scope.extend(Layer.build(layer), scope))
      Effect.runSync(Metric.increment(Metric.counter("jobs")))
      const bodies = []
      for (const { Promises } of both) {
        const answer = await Promises.webHandler()(new Request("http://localhost/metrics"))
        bodies.push((await answer.text()).split("\\n"))
      }
      await Effect.runPromise(Scope.close(scope, Exit.void))
      const families = ["http_server_request_duration_seconds_count", "process_start_time_seconds", "jobs", "effect_prometheus_metrics_left_out"]
      console.log(JSON.stringify(bodies.map((lines) =>
        families.map((name) => lines.filter((line) => line.startsWith(name)).map((line) => line.split(" ").at(-1) >= 1 ? line.split(" ").at(-1) : 0)))))`)
    const [first, second] = seen as ReadonlyArray<ReadonlyArray<ReadonlyArray<string>>>
    assert.deepEqual(first?.[0], ["1"])
    assert.deepEqual(
      first?.map(({ length }) => length),
      [1, 1, 1, 1]
    )
    assert.deepEqual(first?.[2], ["1"])
    assert.deepEqual(second, first)
  })

  it("keep a gauge right that is reset while both have runs in progress", () => {
    const seen = withBoth(`
      const gauge = new Gauge({ name: "running", help: "a" })
      const ends = []
      const work = () => new Promise((resolve) => ends.push(resolve))
      const runs = both.map(({ Promises }) => Promises.trackInProgress(gauge)(work)())
      const values = [await value(gauge)]
      gauge.reset()
      runs.push(...both.map(({ Promises }) => Promises.trackInProgress(gauge)(work)()))
      values.push(await value(gauge))
      for (const end of ends) end()
      await Promise.all(runs)
      console.log(JSON.stringify([...values, await value(gauge)]))`)
    assert.deepEqual(seen, [2, 2, 0])
  })
})

describe("The built package", () => {
  it("has no side effect when it is imported: no timer, no socket, no metric, no process listener", () => {
    const seen = evaluated(
      "module",
      `import { register } from "prom-client"
       // Whoever looks at them opens the pipes of standard output and error; that is not what is meant.
       void [process.stdout, process.stderr]
       const before = process.getActiveResourcesInfo()
       const listeners = process.eventNames()
       await import("effect-prometheus")
       const after = process.getActiveResourcesInfo()
       console.log(JSON.stringify({
         resources: after.filter((kind) => !before.includes(kind)),
         metrics: register.getMetricsAsArray().length,
         listeners: process.eventNames().filter((name) => !listeners.includes(name)).map(String)
       }))`
    )
    assert.deepEqual(seen, { resources: [], metrics: 0, listeners: [] })
  })

  it("can be required by a CommonJS application", () => {
    const names = evaluated(
      "commonjs",
      `const all = require("effect-prometheus")
       const { timed } = require("effect-prometheus/Promises")
       console.log(JSON.stringify({ all: Object.keys(all), timed: typeof timed }))`
    )
    const all = [
      "ConsulAgent",
      "DefaultMetrics",
      "EffectMetrics",
      "Exposition",
      "HttpMetrics",
      "Metrics",
      "MetricsServer",
      "Promises",
      "Registry",
      "ServiceDiscovery",
      "StreamMetrics"
    ]
    assert.deepEqual(names, { all, timed: "function" })
  })

  it("keeps its internal modules to itself", () => {
    const code = evaluated(
      "module",
      `const code = await import("effect-prometheus/core/exposition/samples").catch((error) => error.code)
       console.log(JSON.stringify(code))`
    )
    assert.strictEqual(code, "ERR_PACKAGE_PATH_NOT_EXPORTED")
  })

  it("loads nothing of @effect/platform for the combinators alone", () => {
    const loaded = loadedBy("effect-prometheus/Metrics").map(({ url }) => url)
    assert.isTrue(loaded.some((url) => url.endsWith("/dist/esm/Metrics.js")))
    assert.deepEqual(
      loaded.filter((url) => url.includes("@effect/platform")),
      []
    )
  })

  it("loads nothing of Effect for promises, until a server is started", () => {
    const loaded = loadedBy("effect-prometheus/Promises").map(({ url }) => url)
    assert.isTrue(loaded.some((url) => url.endsWith("/dist/esm/Promises.js")))
    assert.deepEqual(
      loaded.filter((url) => /\/node_modules\/@?effect\//.test(url)),
      []
    )
  })

  it("answers requests that come before what answers them is loaded", () => {
    const seen = evaluated(
      "module",
      `import { createServer } from "node:http"
       const { nodeListener, webHandler } = await import("effect-prometheus/Promises")
       const first = await webHandler()(new Request("http://127.0.0.1/metrics"))
       const server = createServer((request, response) => nodeListener()(request, response))
       server.listen(0, "127.0.0.1", async () => {
         const { port } = server.address()
         const second = await fetch("http://127.0.0.1:" + port + "/metrics")
         console.log(JSON.stringify([first, second].map(({ status }) => status)))
         server.close()
         server.closeAllConnections()
       })`
    )
    assert.deepEqual(seen, [200, 200])
  })

  it("names its source files in stack traces", () => {
    const stack = evaluated(
      "module",
      `const { timed } = await import("effect-prometheus/Promises")
       try { timed({}) } catch (error) { console.log(JSON.stringify(error.stack)) }`
    )
    assert.include(String(stack), "/dist/esm/core/instrument/record.js:")
  })

  it("knows its version", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
    for (const format of ["esm", "cjs"]) {
      const text = readFileSync(join(root, "dist", format, "core", "util", "build.js"), "utf8")
      assert.include(text, `version = "${version}"`)
      assert.include(text, `moduleFormat = "${format}"`)
    }
  })

  it("has one file for the worker thread, which loads nothing but Node.js and can be copied", () => {
    const text = readFileSync(join(root, "dist", "esm", "worker.mjs"), "utf8")
    const imported = [...text.matchAll(/^import .* from "([^"]+)"/gm)].map(([, from = ""]) => from)
    assert.include(imported, "node:worker_threads")
    for (const from of imported) assert.match(from, /^node:/)
  })
})
