/** The metrics of the process and its runtime: what each is called and where its value comes from. */

import type { Lag } from "./processEvents.js"
import type { Read, Reading } from "./processReadings.js"
import * as from from "./processReadings.js"

/** How several processes become one, in the words of the client. */
export type Aggregator = "sum" | "average" | "min" | "max" | "first" | "omit"

/** A metric that is read at a scrape. */
export interface Definition {
  readonly name: string
  readonly help: string
  readonly type: "gauge" | "counter"
  /** The labels of its own. */
  readonly labelNames?: ReadonlyArray<string>
  /** Default: the sum. */
  readonly aggregator?: Aggregator
  readonly read: (reading: Reading) => Read
}

const gauge = (name: string, help: string, read: (reading: Reading) => Read): Definition => ({
  name,
  help,
  type: "gauge",
  read
})

const counter = (name: string, help: string, read: (reading: Reading) => Read): Definition => ({
  name,
  help,
  type: "counter",
  read
})

const byType = (name: string, help: string, names: () => ReadonlyArray<string>): ReadonlyArray<Definition> => [
  { ...gauge(name, `${help}, by type.`, (reading) => from.byType(reading.get(names))), labelNames: ["type"] },
  gauge(`${name}_total`, `${help}.`, (reading) => reading.get(names)?.length)
]

const heapSpace = (
  which: "total" | "used" | "available",
  field: "size" | "used_size" | "available_size"
): Definition => ({
  ...gauge(`nodejs_heap_space_size_${which}_bytes`, `V8's heap, ${which}, in bytes, by space.`, (reading) =>
    reading.get(from.heapSpaces)?.map((space) => [{ space: space.name }, space[`space_${field}`]])
  ),
  labelNames: ["space"]
})

/** Those of the process and of the runtime but for those that are about the time between two scrapes. */
export const definitions: ReadonlyArray<Definition> = [
  counter("process_cpu_user_seconds_total", "CPU time spent in user mode, in seconds.", (r) => r.get(from.cpu)?.user),
  counter(
    "process_cpu_system_seconds_total",
    "CPU time spent in the system, in seconds.",
    (r) => r.get(from.cpu)?.system
  ),
  counter("process_cpu_seconds_total", "CPU time spent in user mode and in the system, in seconds.", (r) => {
    const cpu = r.get(from.cpu)
    return cpu && cpu.user + cpu.system
  }),
  {
    ...gauge("process_start_time_seconds", "When the process started, in seconds since 1970.", (r) =>
      r.get(from.started)
    ),
    aggregator: "omit"
  },
  gauge("process_resident_memory_bytes", "Resident memory, in bytes.", (r) => r.get(from.resident)),
  gauge("process_virtual_memory_bytes", "Virtual memory, in bytes.", (r) => r.get(from.status)?.["VmSize"]),
  gauge("process_heap_bytes", "The data segment of the process, in bytes.", (r) => r.get(from.status)?.["VmData"]),
  gauge("process_open_fds", "File descriptors that are open.", (r) => r.get(from.openDescriptors)),
  gauge("process_max_fds", "File descriptors that may be open at once.", (r) => r.get(from.mostDescriptors)),
  ...byType("nodejs_active_resources", "What keeps the event loop alive", from.resources),
  ...byType("nodejs_active_handles", "Active handles of libuv", from.handles),
  ...byType("nodejs_active_requests", "Active requests of libuv", from.requests),
  gauge("nodejs_heap_size_total_bytes", "V8's heap, in bytes.", (r) => r.get(from.memory)?.heapTotal),
  gauge("nodejs_heap_size_used_bytes", "What is used of V8's heap, in bytes.", (r) => r.get(from.memory)?.heapUsed),
  gauge("nodejs_heap_size_limit_bytes", "What V8's heap may have at most, in bytes.", (r) => r.get(from.heapLimit)),
  gauge(
    "nodejs_external_memory_bytes",
    "Memory of objects bound to V8's, in bytes.",
    (r) => r.get(from.memory)?.external
  ),
  heapSpace("total", "size"),
  heapSpace("used", "used_size"),
  heapSpace("available", "available_size"),
  {
    ...gauge("nodejs_version_info", "The version of Node.js; the value is 1.", (r) => r.get(from.version)),
    labelNames: ["version", "major", "minor", "patch"],
    aggregator: "first"
  },
  counter("nodejs_eventloop_active_seconds_total", "Time that the event loop was busy, in seconds.", (r) =>
    r.get(from.loopActive)
  )
]

/** How late the event loop is at the scrape itself. */
export const lagNow = {
  name: "nodejs_eventloop_lag_seconds",
  help: "How late the event loop was at the scrape, in seconds."
} as const

const lag = (key: keyof Lag, what: string, aggregator: Aggregator): readonly [keyof Lag, Omit<Definition, "read">] => [
  key,
  {
    name: `nodejs_eventloop_lag_${key}_seconds`,
    help: `How late the event loop was in the last one to two minutes, ${what}, in seconds.`,
    type: "gauge",
    aggregator
  }
]

/** How late it was. */
export const lags: ReadonlyArray<readonly [keyof Lag, Omit<Definition, "read">]> = [
  lag("min", "at least", "min"),
  lag("max", "at most", "max"),
  lag("mean", "on average", "average"),
  lag("stddev", "standard deviation", "average"),
  lag("p50", "50th percentile", "average"),
  lag("p90", "90th percentile", "average"),
  lag("p99", "99th percentile", "average")
]

/** Garbage collections, by kind. */
export const collections = {
  name: "nodejs_gc_duration_seconds",
  help: "Time spent in garbage collections, in seconds, by kind: major, minor, incremental or weakcb.",
  labelNames: ["kind"]
} as const

/** The names of all labels that metrics have of their own. */
export const ownLabelNames: ReadonlySet<string> = new Set(
  [...definitions, collections].flatMap(({ labelNames = [] }) => labelNames)
)
