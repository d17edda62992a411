/** A fleet, and a real Prometheus that scrapes it and evaluates the rules of `examples/monitoring`. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

export interface Size {
  readonly services: string
  readonly instances: string
  readonly routes: string
}

const here = fileURLToPath(new URL(".", import.meta.url))
export const monitoring = join(here, "..", "..", "examples", "monitoring")

const started: Array<ChildProcess> = []
const folder = mkdtempSync(join(tmpdir(), "monitoring-"))
process.once("exit", () => {
  for (const child of started) child.kill("SIGKILL")
  rmSync(folder, { recursive: true, force: true })
})
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

/** Returns its port. */
export const startFleet = (size: Size): Promise<number> => {
  const options = Object.entries(size).flatMap(([name, value]) => [`--${name}`, value])
  const child = spawn(
    process.execPath,
    ["--max-old-space-size=8192", "--import", "tsx", join(here, "fleet.ts"), ...options],
    { stdio: ["ignore", "pipe", "inherit"] }
  )
  started.push(child)
  return new Promise((resolve, reject) => {
    child.stdout.once("data", (port) => resolve(Number(port)))
    child.once("exit", (code) => reject(new Error(`the fleet ended with ${code}`)))
  })
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const targets = (fleet: number, { instances, services }: Size) =>
  Array.from({ length: Number(services) * Number(instances) }, (_, at) => {
    const [service, number] = [Math.floor(at / Number(instances)), at % Number(instances)]
    return {
      targets: [`127.0.0.1:${fleet}`],
      labels: {
        job: `service-${service}`,
        instance: `10.${Math.floor(service / 256)}.${service % 256}.${number}:9464`,
        cluster: `cluster-${service % 3}`,
        __metrics_path__: `/${service}/${number}/metrics`
      }
    }
  })

/** Returns a function that asks its API. */
export const startPrometheus = async (fleet: number, size: Size) => {
  const binary = process.env["PROMETHEUS3_BIN"]
  if (binary === undefined) throw new Error("PROMETHEUS3_BIN is not set: see .ci/services")
  const config = join(folder, "prometheus.yml")
  writeFileSync(
    config,
    `global: { scrape_interval: 15s, evaluation_interval: 30s }
rule_files: [${JSON.stringify(join(monitoring, "alerts.yml"))}]
scrape_configs: ${JSON.stringify([{ job_name: "services", static_configs: targets(fleet, size) }])}
`
  )
  const port = await freePort()
  const flags = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(folder, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`,
    "--log.level=warn"
  ]
  started.push(spawn(binary, flags, { stdio: ["ignore", "inherit", "inherit"] }))
  return async <A>(path: string, query: Readonly<Record<string, string>> = {}): Promise<A> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(query)}`)
    const { data, error } = (await response.json()) as { readonly data: A; readonly error?: string }
    if (error !== undefined) throw new Error(error)
    return data
  }
}
