/**
 * A custom service discovery: it keeps a JSON file for `file_sd_configs` of Prometheus for as long as the metrics are
 * served.
 *
 * `npx tsx examples/custom-service-discovery.ts`, or with `--promises` the same without Effect.
 */
import { rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeRuntime } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { MetricsServer, Promises, ServiceDiscovery } from "effect-prometheus"

const file = process.env["TARGETS_FILE"] ?? join(tmpdir(), "effect-prometheus-targets.json")
const options = { host: "127.0.0.1", port: Number(process.env["METRICS_PORT"] ?? 0) }

// Prometheus reads the file whenever it changes. A rename is atomic, so Prometheus never reads a partial file.
const writeTargets = async ({ address }: ServiceDiscovery.RunningServer): Promise<void> => {
  const targets = [{ targets: [`${address.hostname}:${address.port}`], labels: { job: "checkout" } }]
  await writeFile(`${file}.new`, JSON.stringify(targets))
  await rename(`${file}.new`, file)
}

const FileDiscovery = ServiceDiscovery.layer({
  name: `the file ${file}`,
  register: (server) =>
    Effect.acquireRelease(
      Effect.tryPromise({
        try: () => writeTargets(server),
        // `reason` is from a fixed set, so that the caller can handle it. The message names the file.
        catch: (cause) =>
          new ServiceDiscovery.ServiceDiscoveryError({ reason: "Unreachable", message: `cannot write ${file}`, cause })
      }),
      // Runs before the server stops listening, so that Prometheus loses the target before the port closes.
      () => Effect.promise(() => rm(file, { force: true }))
    )
})

// Provide the discovery *to* the server: a merged layer would have no effect. The server logs whether it is registered.
const TheMetrics = MetricsServer.layer(options).pipe(Layer.provide(FileDiscovery))

// For promises: one function that resolves to another one, which deregisters.
const fileDiscovery: Promises.Discovery = {
  name: `the file ${file}`,
  register: async (server) => {
    await writeTargets(server)
    return () => rm(file, { force: true })
  }
}

if (process.argv.includes("--promises")) {
  const metrics = await Promises.startHttpServer({ ...options, serviceDiscovery: fileDiscovery })
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => metrics.close())
} else {
  NodeRuntime.runMain(Layer.launch(TheMetrics))
}
