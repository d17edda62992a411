/**
 * A fleet of services in one process: each instance has its own registry, with the metrics of HTTP requests, of the process
 * and of the endpoint, and is served by the library below `/<service>/<instance>/metrics`. Prints its port.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { parseArgs } from "node:util"
import { Registry as ClientRegistry } from "prom-client"
import { httpFamilies, httpNaming, httpSchemes } from "../../src/core/http/metrics.js"
import { definitions, lagNow, lags } from "../../src/core/process/definitions.js"
import { getOrCreate } from "../../src/core/registry/getOrCreate.js"
import { nodeListener } from "../../src/Promises.js"

const { values } = parseArgs({
  options: {
    services: { type: "string", default: "300" },
    instances: { type: "string", default: "4" },
    routes: { type: "string", default: "12" }
  }
})
const [services, instances, routes] = [values.services, values.instances, values.routes].map(Number) as [
  number,
  number,
  number
]

type Listener = (request: IncomingMessage, response: ServerResponse) => void

interface Recording {
  inc(labels: Record<string, string>, by?: number): void
  set(labels: Record<string, string>, value: number): void
  observe(labels: Record<string, string>, value: number): void
}

const naming = httpNaming(httpSchemes.default, "seconds")

const instance = (service: number, number: number): Listener => {
  const registry = new ClientRegistry()
  const families = httpFamilies({ naming, unit: "seconds", labelNames: [] })
  const make = (family: Parameters<typeof getOrCreate>[1]) => getOrCreate(registry, family) as unknown as Recording
  const [requests, duration, inProgress] = [families.requests, families.duration, families.inProgress].map(make)
  const ofProcess = [
    ...definitions.filter(({ labelNames = [] }) => labelNames.length === 0),
    ...[lagNow, ...lags.map(([, definition]) => definition)]
  ]
  for (const { name, help, type } of ofProcess) {
    const metric = make({ type: type as "gauge", name, help, labelNames: [] })
    if (type === "gauge") metric.set({}, value(name, number))
    else metric.inc({}, value(name, number))
  }
  const spaces = make({
    type: "gauge",
    name: "nodejs_heap_space_size_used_bytes",
    help: "V8 heap space size (used), by space, in bytes.",
    labelNames: ["space"]
  })
  for (const space of ["new", "old", "code", "large_object", "new_large_object", "code_large_object", "trusted"]) {
    spaces.set({ space }, 5e6 + number)
  }
  const recorded = (): void => {
    for (let route = 0; route < routes; route += 1) {
      const statuses = route % 2 === 0 ? ["200", "500"] : ["200"]
      for (const status of statuses) {
        const labels = { method: "GET", route: `/service-${service}/resource-${route}/:id`, status }
        const isHealthy = status === "200" || (service === 7 && route === 0)
        requests?.inc(labels, isHealthy ? 20 : 0.001)
        duration?.observe(labels, 0.004 * (1 + ((service + route) % 40)))
      }
    }
    inProgress?.set({ method: "GET" }, number)
  }
  recorded()
  const handler = nodeListener({ registry }) as unknown as Listener
  return (request, response) => {
    recorded()
    handler(request, response)
  }
}

const started = Date.now() / 1e3

const value = (name: string, number: number): number => {
  if (name.includes("start_time")) return started
  if (name.includes("limit")) return 1e9
  if (name.includes("max_fds")) return 1_024
  return name.includes("bytes") ? 1e7 + number : 0.001
}

const listeners = new Map<string, Listener>()
for (let service = 0; service < services; service += 1) {
  for (let number = 0; number < instances; number += 1) {
    listeners.set(`/${service}/${number}/metrics`, instance(service, number))
  }
}
const server = createServer((request, response) => {
  const listener = listeners.get(request.url ?? "")
  if (listener === undefined) response.writeHead(404).end()
  else listener(request, response)
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(typeof address === "object" ? address?.port : undefined)
})
