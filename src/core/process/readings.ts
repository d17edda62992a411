/** What the process and its runtime tell of themselves: each reading is taken once for all metrics of a scrape. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { performance } from "node:perf_hooks"
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8"
import { now } from "./timer.js"

/** Labels beside those that every metric has. */
export type OwnLabels = Readonly<Record<string, string | number>>

/** The series of a metric: one without labels of its own, or any number; `undefined` is none that is known here. */
export type Read = number | undefined | ReadonlyArray<readonly [OwnLabels, number]>

/** Values that were read at about the same time. */
export class Reading {
  private readonly values = new Map<unknown, unknown>()
  private readonly askers = new Set<object>()
  private readonly taken = now()

  /** Whether it can serve that metric: who asks again wants to know what is now, and so does who comes late. */
  serves(asker: object): boolean {
    return !this.askers.has(asker) && now() - this.taken < 100
  }

  servedTo(asker: object): void {
    this.askers.add(asker)
  }

  /** What `read` gives, asked once; `undefined` where this system has no answer. */
  get<A>(read: () => A): A | undefined {
    if (!this.values.has(read)) this.values.set(read, attempted(read))
    return this.values.get(read) as A | undefined
  }
}

const attempted = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    // Another system, or one that forbids it. The scrape goes on without.
    return undefined
  }
}

/** In seconds, of the whole process since its start, as the system has it. */
export const cpu = (): { readonly user: number; readonly system: number } => {
  const { system, user } = process.cpuUsage()
  return { user: user / 1e6, system: system / 1e6 }
}

/** In bytes, as `/proc/self/status` has it. */
export const status = (): { readonly [field: string]: number } => {
  const text = readFileSync("/proc/self/status", "utf8")
  return Object.fromEntries(
    [...text.matchAll(/^(Vm\w+):\s+(\d+) kB$/gm)].map(([, name = "", kilobytes]) => [name, Number(kilobytes) * 1024])
  )
}

/** In bytes. */
export const memory = (): NodeJS.MemoryUsage => process.memoryUsage()

/** The resident memory in bytes. */
export const resident = (): number => process.memoryUsage.rss()

/** How many file descriptors are open. */
export const openDescriptors = (): number => {
  // Linux tells their number since 6.2. To list ten thousand takes ten milliseconds, in which nothing else happens; the
  // list has the descriptor that it is read with.
  const { size } = statSync("/proc/self/fd")
  return size > 0 ? size : readdirSync("/proc/self/fd").length - 1
}

/** How many file descriptors may be open, which can be changed while the process runs. */
export const mostDescriptors = (): number | undefined => {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? []
  if (soft === undefined) return undefined
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft)
}

let startedAt: number | undefined

/** In seconds since 1970, the same for the whole life of the process whatever becomes of the clock. */
export const started = (): number => {
  startedAt ??= Math.round(Date.now() - process.uptime() * 1e3) / 1e3
  return startedAt
}

/** The time that the event loop has been busy since it began, in seconds. */
export const loopActive = (): number => performance.eventLoopUtilization().active / 1e3

interface Inside {
  _getActiveHandles(): ReadonlyArray<object | null>
  _getActiveRequests(): ReadonlyArray<object | null>
}

/** The names of the classes of what libuv has open, and of what it is asked to do. They have no public name. */
export const handles = (): ReadonlyArray<string> => classesOf((process as unknown as Inside)._getActiveHandles())
export const requests = (): ReadonlyArray<string> => classesOf((process as unknown as Inside)._getActiveRequests())

/** The kinds of what keeps the event loop alive. */
export const resources = (): ReadonlyArray<string> => process.getActiveResourcesInfo()

const classesOf = (objects: ReadonlyArray<object | null>): ReadonlyArray<string> =>
  objects.map((object) => {
    const name = attempted(() => object?.constructor.name)
    return typeof name === "string" && name !== "" ? name : "unknown"
  })

/** How often each comes. */
export const byType = (names: ReadonlyArray<string> | undefined): Read => {
  if (names === undefined) return undefined
  const numbers = new Map<string, number>()
  for (const name of names) numbers.set(name, (numbers.get(name) ?? 0) + 1)
  return [...numbers].map(([type, number]) => [{ type }, number])
}

/** How large V8's heap may become, in bytes, which can be changed while the process runs. */
export const heapLimit = (): number => getHeapStatistics().heap_size_limit

/** The spaces of V8's heap. */
export const heapSpaces = () =>
  getHeapSpaceStatistics().map((space) => ({ ...space, name: space.space_name.replace(/_space$/, "") }))

/** What is running. */
export const version = (): Read => {
  const [, major = "", minor = "", patch = ""] = /^v(\d+)\.(\d+)\.(\d+)/.exec(process.version) ?? []
  return [[{ version: process.version, major, minor, patch }, 1]]
}
