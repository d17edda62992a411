/**
 * What the library adds to the start of an application that has loaded Effect's parts and prom-client already: the time of
 * its import in a fresh process. And how many modules of `@effect/platform` the combinators alone load, as a hook into
 * Node.js' loader sees it. These programs are plain JavaScript, for a compiler in the loader would be measured as well.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import type { Row } from "../report.js"
import { limit } from "../report.js"
import { alternate } from "../rounds.js"

// From the root of the package its own name leads to what was built.
const root = fileURLToPath(new URL("../..", import.meta.url))

const printed = async (program: string): Promise<number> => {
  const args = ["--input-type=module", "-e", program]
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root })
  return Number(stdout)
}

const importing = (name: string) => () =>
  printed(`
    await import("effect/Effect")
    await import("@effect/platform-node/NodeHttpServer")
    await import("@effect/platform-node/NodeRuntime")
    await import("prom-client")
    const start = performance.now()
    await import("${name}")
    console.log(performance.now() - start)
  `)

const modulesOfPlatform = `
  import { register } from "node:module"
  import { MessageChannel, receiveMessageOnPort } from "node:worker_threads"
  const hook = "let port; export const initialize = (data) => { port = data };" +
    "export const load = async (url, context, next) => { port.postMessage(url); return next(url, context) }"
  const { port1, port2 } = new MessageChannel()
  register("data:text/javascript," + encodeURIComponent(hook), { data: port2, transferList: [port2] })
  await import("effect-prometheus/Metrics")
  const urls = []
  for (let message; (message = receiveMessageOnPort(port1)); ) urls.push(message.message)
  port1.close()
  if (!urls.some((url) => url.endsWith("/dist/Metrics.js"))) throw new Error("the hook saw nothing")
  console.log(urls.filter((url) => url.includes("/@effect/platform")).length)
`

export const loading: Row = {
  id: "loading",
  title: "importing the library into an application that has everything else",
  run: async () => {
    const names = { all: "effect-prometheus", metrics: "effect-prometheus/Metrics" }
    const times = await alternate({ all: importing(names.all), metrics: importing(names.metrics) }, { rounds: 15 })
    const platform = await printed(modulesOfPlatform)
    return {
      comparisons: [
        limit({ name: names.all, unit: "ms", rounds: times.all }, { bar: { atMost: 15 } }),
        limit({ name: names.metrics, unit: "ms", rounds: times.metrics }, {}),
        limit(
          { name: names.metrics, unit: "modules", rounds: [platform] },
          { what: "of @effect/platform", bar: { atMost: 0 } }
        )
      ]
    }
  }
}
