/** The metrics of the process and its runtime: their names and the sources of their values. */
import type { MetricConfiguration } from "../client/promClient.js"
import type { Lag } from "./events.js"
import type { Read, Reading } from "./readings.js"
import * as from from "./readings.js"

export interface Definition {
  readonly name: string
  readonly help: string
  readonly type: "gauge" | "counter"
  /** The labels of this metric, without those of the options. */
  readonly labelNames?: ReadonlyArray<string>
  readonly aggregator?: MetricConfiguration["aggregator"]
  readonly read: (reading: Reading) => Read
}

const ofType =
  (type: Definition["type"]) =>
  (name: string, help: string, read: Definition["read"]): Definition => ({ type, name, help, read })

const gauge = ofType("gauge")
const counter = ofType("counter")

const byType = (name: string, help: string, names: () => ReadonlyArray<string>): ReadonlyArray<Definition> => [
  { ...gauge(name, `${help}, by type.`, (reading) => from.byType(reading.get(names))), labelNames: ["type"] },
  gauge(`${name}_total`, `${help}.`, (reading) => reading.get(names)?.length)
]

const heapSpace = (
  which: "total" | "used" | "available",
  field: "size" | "used_size" | "available_size"
): Definition => ({
  ...gauge(`nodejs_heap_space_size_${which}_bytes`, `V8 heap space size (${which}), by space, in bytes.`, (reading) =>
    reading.get(from.heapSpaces)?.map((space) => [{ space: space.name }, space[`space_${field}`]])
  ),
  labelNames: ["space"]
})

/** The metrics of the process and the runtime, except those about the time between two scrapes. */
export const definitions: ReadonlyArray<Definition> = [
  counter("process_cpu_user_seconds_total", "CPU time spent in user mode, in seconds.", (r) => r.get(from.cpu)?.user),
  counter(
    "process_cpu_system_seconds_total",
    "CPU time spent in system mode, in seconds.",
    (r) => r.get(from.cpu)?.system
  ),
  counter("process_cpu_seconds_total", "CPU time spent in user and system mode, in seconds.", (r) => {
    const cpu = r.get(from.cpu)
    return cpu && cpu.user + cpu.system
  }),
  {
    ...gauge("process_start_time_seconds", "Start time of the process since the Unix epoch, in seconds.", (r) =>
      r.get(from.started)
    ),
    aggregator: "omit"
  },
  gauge("process_resident_memory_bytes", "Resident memory size, in bytes.", (r) => r.get(from.resident)),
  {
    ...gauge(
      "process_memory_limit_bytes",
      "Memory that the system lets the process use: the limit of its control group, or the memory of the machine, in bytes.",
      (r) => r.get(from.memoryLimit)
    ),
    // The processes of a cluster share the limit.
    aggregator: "max"
  },
  gauge("process_virtual_memory_bytes", "Virtual memory size, in bytes.", (r) => r.get(from.status)?.["VmSize"]),
  gauge(
    "process_heap_bytes",
    "Size of the data segment of the process, in bytes.",
    (r) => r.get(from.status)?.["VmData"]
  ),
  gauge("process_open_fds", "Open file descriptors.", (r) => r.get(from.openDescriptors)),
  gauge("process_max_fds", "Maximum number of open file descriptors.", (r) => r.get(from.mostDescriptors)),
  ...byType("nodejs_active_resources", "Resources that keep the event loop alive", from.resources),
  ...byType("nodejs_active_handles", "Active handles of libuv", from.handles),
  ...byType("nodejs_active_requests", "Active requests of libuv", from.requests),
  gauge("nodejs_heap_size_total_bytes", "V8 heap size, in bytes.", (r) => r.get(from.memory)?.heapTotal),
  gauge("nodejs_heap_size_used_bytes", "Used V8 heap size, in bytes.", (r) => r.get(from.memory)?.heapUsed),
  gauge("nodejs_heap_size_limit_bytes", "V8 heap size limit, in bytes.", (r) => r.get(from.heapLimit)),
  gauge(
    "nodejs_heap_old_generation_limit_bytes",
    "Size limit of V8's old generation, at which the process ends, in bytes.",
    (r) => r.get(from.oldGenerationLimit)
  ),
  gauge(
    "nodejs_external_memory_bytes",
    "Memory of C++ objects that are bound to JavaScript objects, in bytes.",
    (r) => r.get(from.memory)?.external
  ),
  heapSpace("total", "size"),
  heapSpace("used", "used_size"),
  heapSpace("available", "available_size"),
  {
    ...gauge("nodejs_version_info", "Version of Node.js; the value is always 1.", (r) => r.get(from.version)),
    labelNames: ["version", "major", "minor", "patch"],
    aggregator: "first"
  },
  counter("nodejs_eventloop_active_seconds_total", "Time for which the event loop was active, in seconds.", (r) =>
    r.get(from.loopActive)
  )
]

export const lagNow = {
  type: "gauge",
  name: "nodejs_eventloop_lag_seconds",
  help: "Event loop delay during the scrape, in seconds.",
  aggregator: "average"
} as const

const lag = (
  key: keyof Lag,
  what: string,
  aggregator: Definition["aggregator"]
): readonly [keyof Lag, Omit<Definition, "read">] => [
  key,
  {
    name: `nodejs_eventloop_lag_${key}_seconds`,
    help: `Event loop delay in the last one to two minutes, ${what}, in seconds.`,
    type: "gauge",
    aggregator
  }
]

export const lags: ReadonlyArray<readonly [keyof Lag, Omit<Definition, "read">]> = [
  lag("min", "minimum", "min"),
  lag("max", "maximum", "max"),
  lag("mean", "mean", "average"),
  lag("stddev", "standard deviation", "average"),
  lag("p50", "50th percentile", "average"),
  lag("p90", "90th percentile", "average"),
  lag("p99", "99th percentile", "average")
]

export const collections = {
  type: "histogram",
  name: "nodejs_gc_duration_seconds",
  help: "Time spent in garbage collection, by kind (major, minor, incremental or weakcb), in seconds.",
  labelNames: ["kind"]
} as const

export const ownLabelNames: ReadonlySet<string> = new Set(
  [...definitions, collections].flatMap(({ labelNames = [] }) => labelNames)
)
