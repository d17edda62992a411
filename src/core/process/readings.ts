/** Reads the values of the process and its runtime. Each reading is taken once for all metrics of a scrape. */
import { readdirSync, readFileSync, statSync } from "node:fs"
import { totalmem } from "node:os"
import { performance } from "node:perf_hooks"
import { getHeapSpaceStatistics, getHeapStatistics } from "node:v8"
import { now } from "../util/realTimers.js"
import { oldGenerationLimit as limitOf } from "./oldGeneration.js"

/** Labels in addition to those of the options. */
export type OwnLabels = Readonly<Record<string, string | number>>

/** The series of a metric: one without its own labels, or any number; `undefined` if the value is unknown. */
export type Read = number | undefined | ReadonlyArray<readonly [OwnLabels, number]>

/** Values that were read at about the same time. */
export class Reading {
  private readonly values = new Map<unknown, unknown>()
  private readonly askers = new Set<object>()
  private readonly taken = now()

  /** A metric that asks again belongs to a new scrape, and so does one that asks more than 100 milliseconds later. */
  serves(asker: object): boolean {
    return !this.askers.has(asker) && now() - this.taken < 100
  }

  servedTo(asker: object): void {
    this.askers.add(asker)
  }

  /** `read` is called once; `undefined` if this system does not provide it. */
  get<A>(read: () => A): A | undefined {
    if (!this.values.has(read)) this.values.set(read, attempted(read))
    return this.values.get(read) as A | undefined
  }
}

const attempted = <A>(read: () => A): A | undefined => {
  try {
    return read()
  } catch {
    // This system does not provide it, or denies access. The scrape continues without it.
    return undefined
  }
}

/** Of the whole process since its start, in seconds. */
export const cpu = (): { readonly user: number; readonly system: number } => {
  const { system, user } = process.cpuUsage()
  return { user: user / 1e6, system: system / 1e6 }
}

/** The fields of `/proc/self/status`, in bytes. */
export const status = (): { readonly [field: string]: number } => {
  const text = readFileSync("/proc/self/status", "utf8")
  return Object.fromEntries(
    [...text.matchAll(/^(Vm\w+):\s+(\d+) kB$/gm)].map(([, name = "", kilobytes]) => [name, Number(kilobytes) * 1024])
  )
}

export const memory = (): NodeJS.MemoryUsage => process.memoryUsage()

export const resident = (): number => process.memoryUsage.rss()

export const openDescriptors = (): number => {
  // Since Linux 6.2, the size of the directory is their number. Listing ten thousand takes ten milliseconds and blocks
  // the event loop; the list contains the descriptor that it is read with.
  const { size } = statSync("/proc/self/fd")
  return size > 0 ? size : readdirSync("/proc/self/fd").length - 1
}

/** It can change while the process runs. */
export const mostDescriptors = (): number | undefined => {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? []
  if (soft === undefined) return undefined
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft)
}

let startedAt: number | undefined

/** In seconds since 1970. It stays the same for the whole life of the process, even if the clock changes. */
export const started = (): number => {
  startedAt ??= Math.round(Date.now() - process.uptime() * 1e3) / 1e3
  return startedAt
}

/** In seconds. */
export const loopActive = (): number => performance.eventLoopUtilization().active / 1e3

interface Inside {
  _getActiveHandles(): ReadonlyArray<object | null>
  _getActiveRequests(): ReadonlyArray<object | null>
}

/** The class names of libuv's active handles and requests. Node.js has no public function for them. */
export const handles = (): ReadonlyArray<string> => classesOf((process as unknown as Inside)._getActiveHandles())
export const requests = (): ReadonlyArray<string> => classesOf((process as unknown as Inside)._getActiveRequests())

export const resources = (): ReadonlyArray<string> => process.getActiveResourcesInfo()

const classesOf = (objects: ReadonlyArray<object | null>): ReadonlyArray<string> =>
  objects.map((object) => {
    const name = attempted(() => object?.constructor.name)
    return typeof name === "string" && name !== "" ? name : "unknown"
  })

export const byType = (names: ReadonlyArray<string> | undefined): Read => {
  if (names === undefined) return undefined
  const numbers = new Map<string, number>()
  for (const name of names) numbers.set(name, (numbers.get(name) ?? 0) + 1)
  return [...numbers].map(([type, number]) => [{ type }, number])
}

/** In bytes. It can change while the process runs. */
export const heapLimit = (): number => getHeapStatistics().heap_size_limit

/** Of the control group, or else of the machine, in bytes. It can change while the process runs. */
export const memoryLimit = (): number => {
  const most = totalmem()
  // Without a limit, it is 0 or a number larger than every memory.
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, most) : most
}

/** In bytes: V8 ends the process when its old generation has reached it. Undefined without V8. */
export const oldGenerationLimit = (): number | undefined => {
  const newSpace = heapSpaces().find(({ name }) => name === "new")?.space_size ?? 0
  // Other engines, such as Bun's, have none.
  return newSpace === 0 ? undefined : limitOf(heapLimit(), newSpace, memoryLimit())
}

export const heapSpaces = () =>
  getHeapSpaceStatistics().map((space) => ({ ...space, name: space.space_name.replace(/_space$/, "") }))

export const version = (): Read => {
  const [, major = "", minor = "", patch = ""] = /^v(\d+)\.(\d+)\.(\d+)/.exec(process.version) ?? []
  return [[{ version: process.version, major, minor, patch }, 1]]
}
