import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
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
      `const code = await import("effect-prometheus/internal/encoder").catch((error) => error.code)
       console.log(JSON.stringify(code))`
    )
    assert.strictEqual(code, "ERR_PACKAGE_PATH_NOT_EXPORTED")
  })

  it("loads nothing of @effect/platform for the combinators alone", () => {
    const loaded = loadedBy("effect-prometheus/Metrics").map(({ url }) => url)
    assert.isTrue(loaded.some((url) => url.endsWith("/dist/Metrics.js")))
    assert.deepEqual(
      loaded.filter((url) => url.includes("@effect/platform")),
      []
    )
  })

  // Node.js takes longer to find a file than to run most of ours.
  it("comes in two files beside that of its name, which look for no module of Effect twice", () => {
    const dist = `${pathToFileURL(join(root, "dist"))}/`
    for (const name of ["effect-prometheus", "effect-prometheus/Promises"]) {
      const loaded = loadedBy(name)
      const ours = new Set(loaded.map(({ url }) => url).filter((url) => url.startsWith(dist)))
      assert.strictEqual(ours.size, 3, [...ours].join(" "))
      const imported = loaded.filter(({ parent }) => ours.has(parent ?? "")).map(({ specifier }) => specifier)
      const effects = imported.filter((specifier) => /^@?effect\//.test(specifier))
      assert.include(effects, "effect/Effect")
      assert.deepEqual(effects, [...new Set(effects)])
    }
  })
})

describe("The sources", () => {
  const importsOf = (file: string): ReadonlyArray<string> =>
    [
      ...readFileSync(join(root, "src", file), "utf8").matchAll(
        /^(?:import|export)[^"=]*? from "([^"]+)"|^import "([^"]+)"/gm
      )
    ].map(([, from, bare]) => from ?? bare ?? "")
  const sources = (folder: string): ReadonlyArray<string> =>
    readdirSync(join(root, "src", folder))
      .filter((file) => file.endsWith(".ts"))
      .map((file) => join(folder, file))

  // What stands before a module may be imported by it, in this order.
  const order = [
    "Registry",
    "Metrics",
    "StreamMetrics",
    "DefaultMetrics",
    "EffectMetrics",
    "HttpMetrics",
    "Exposition",
    "ServiceDiscovery",
    "MetricsServer",
    "ConsulAgent",
    "Promises"
  ]

  // The rooms of a module, which is called like their folder. Who may import the module may enter them.
  const rooms = { exposition: "Exposition", httpMetrics: "HttpMetrics", promises: "Promises" }
  const everything = ["", "internal", ...Object.keys(rooms)].flatMap(sources)

  it("depend on each other in one direction only", () => {
    assert.sameMembers(
      readdirSync(join(root, "src"), { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory() ? entry.name : []
      ),
      ["internal", ...Object.keys(rooms)]
    )
    /** The module that a file belongs to, or is; of `internal` it is none. */
    const moduleOf = (file: string): string | undefined => {
      const [folder = "", inside] = file.replace(/^\.\//, "").split("/")
      return inside === undefined ? folder.replace(/\.[jt]s$/, "") : rooms[folder as keyof typeof rooms]
    }
    for (const file of everything.filter((name) => name !== "index.ts")) {
      const own = moduleOf(file)
      const position = own === undefined ? 0 : order.indexOf(own)
      assert.isAtLeast(position, 0, file)
      for (const imported of importsOf(file).filter((from) => from.startsWith("."))) {
        const module = moduleOf(join(dirname(file), imported))
        if (module === undefined) continue
        const isOwnRoom = module === own && imported !== `../${own}.js`
        assert.isTrue(isOwnRoom || order.slice(0, position).includes(module), `${file} imports ${imported}`)
      }
    }
  })

  it("import prom-client in one module, and never a barrel", () => {
    assert.deepEqual(
      everything.filter((file) => importsOf(file).includes("prom-client")),
      ["Registry.ts"]
    )
    for (const barrel of ["effect", "@effect/platform", "@effect/platform-node", "./index.js"]) {
      assert.deepEqual(
        everything.filter((file) => importsOf(file).includes(barrel)),
        [],
        barrel
      )
    }
  })

  it("become one file for the worker thread, which loads nothing but Node.js and can be copied", () => {
    const text = readFileSync(join(root, "dist", "internal", "worker.mjs"), "utf8")
    const imported = [...text.matchAll(/^import .* from "([^"]+)"/gm)].map(([, from = ""]) => from)
    assert.include(imported, "node:worker_threads")
    for (const from of imported) assert.match(from, /^node:/)
  })
})
