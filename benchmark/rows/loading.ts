/**
 * What the library adds to the start of an application that has loaded its dependencies already: the time of its import in
 * a fresh process, the memory, and the modules of Effect that it loads, as a hook into Node.js' loader sees them. These
 * programs are plain JavaScript: a compiler in the loader would be measured as well.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { type Comparison, limit, type Row } from "../report.js"
import { alternate } from "../rounds.js"

// In the root of the package, Node.js resolves the package's own name to the built files.
const root = fileURLToPath(new URL("../..", import.meta.url))

const printed = async (program: string): Promise<number> => {
  const args = ["--input-type=module", "-e", program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
  return Number(stdout)
}

const importing = (names: ReadonlyArray<string>): string => names.map((name) => `await import("${name}")`).join("\n")

const milliseconds = (name: string, before: ReadonlyArray<string>) => () =>
  printed(`
    ${importing(before)}
    const start = performance.now()
    ${importing([name])}
    console.log(performance.now() - start)
  `)

const mebibytes = (name: string, before: ReadonlyArray<string>) => () =>
  printed(`
    ${importing(before)}
    const before = process.memoryUsage.rss()
    ${importing([name])}
    console.log((process.memoryUsage.rss() - before) / 2 ** 20)
  `)

/** How many modules of those packages the import of `name` loads. `own` is a file of ours that it must load. */
const modules = (name: string, own: string, packages: string) =>
  printed(`
    import { register } from "node:module"
    import { MessageChannel, receiveMessageOnPort } from "node:worker_threads"
    const hook = "let port; export const initialize = (data) => { port = data };" +
      "export const load = async (url, context, next) => { port.postMessage(url); return next(url, context) }"
    const { port1, port2 } = new MessageChannel()
    register("data:text/javascript," + encodeURIComponent(hook), { data: port2, transferList: [port2] })
    await import("${name}")
    const urls = []
    for (let message; (message = receiveMessageOnPort(port1)); ) urls.push(message.message)
    port1.close()
    if (!urls.some((url) => url.endsWith("/dist/esm/${own}.js"))) throw new Error("the hook saw nothing")
    console.log(urls.filter((url) => /\\/node_modules\\/${packages}\\//.test(url)).length)
  `)

const effect = ["effect", "@effect/platform", "@effect/platform-node", "prom-client"]

export const loading: Row = {
  id: "loading",
  title: "importing the library into an application that has its dependencies",
  run: async () => {
    const promises = "effect-prometheus/Promises"
    const barrel = "effect-prometheus"
    const metrics = "effect-prometheus/Metrics"
    const rounds = await alternate(
      {
        promises: milliseconds(promises, ["prom-client"]),
        memory: mebibytes(promises, ["prom-client"]),
        barrel: milliseconds(barrel, effect),
        metrics: milliseconds(metrics, ["effect/Effect", "prom-client"])
      },
      { rounds: 15 }
    )
    const counted = async (name: string, own: string, packages: string, what: string): Promise<Comparison> =>
      limit(
        { name, unit: "modules", rounds: [await modules(name, own, packages)] },
        { what: `of ${what}`, bar: { atMost: 0 } }
      )
    return {
      comparisons: [
        limit({ name: promises, unit: "ms", rounds: rounds.promises }, { what: "on prom-client", bar: { atMost: 25 } }),
        limit({ name: promises, unit: "MiB", rounds: rounds.memory }, { what: "on prom-client", bar: { atMost: 12 } }),
        await counted(promises, "Promises", "@?effect", "effect and @effect/*"),
        limit({ name: barrel, unit: "ms", rounds: rounds.barrel }, { what: "on Effect", bar: { atMost: 25 } }),
        limit({ name: metrics, unit: "ms", rounds: rounds.metrics }, { what: "on effect/Effect", bar: { atMost: 6 } }),
        await counted(metrics, "Metrics", "@effect", "@effect/*")
      ]
    }
  }
}
