/**
 * A service discovery of one's own: it keeps a JSON file for `file_sd_configs` of Prometheus, as long as the metrics are
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

// Prometheus reads the file whenever it changes. Renaming puts it there whole, so it never sees the half of it.
const writeTargets = async ({ address }: ServiceDiscovery.Server): Promise<void> => {
  const targets = [{ targets: [`${address.hostname}:${address.port}`], labels: { service: "checkout" } }]
  await writeFile(`${file}.new`, JSON.stringify(targets))
  await rename(`${file}.new`, file)
}

const FileDiscovery = ServiceDiscovery.layer({
  name: `the file ${file}`,
  register: (server) =>
    Effect.acquireRelease(
      Effect.tryPromise({
        try: () => writeTargets(server),
        // The reason is one of a few, so that whoever starts the server can decide on it; the message names the place.
        catch: (cause) =>
          new ServiceDiscovery.ServiceDiscoveryError({ reason: "Unreachable", message: `cannot write ${file}`, cause })
      }),
      // It runs before the server stops listening: first nobody is sent here any more, then nobody is here.
      () => Effect.promise(() => rm(file, { force: true }))
    )
})

// Provided *to* the server. Merged beside it, it would not be seen; the line that the server logs tells which it was.
const TheMetrics = MetricsServer.layer(options).pipe(Layer.provide(FileDiscovery))

// For promises it is one function that resolves to another one, which takes the registration back.
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
