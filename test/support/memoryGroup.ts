/** Control groups of Linux with a memory limit. */
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

export interface MemoryGroup {
  /** Its folder: a process enters the group by its id in `cgroup.procs`. */
  readonly folder: string
  /** Moves a process into the group. */
  readonly add: (pid: number) => void
  /** Once its processes have ended. */
  readonly remove: () => void
}

// Version 1 has a hierarchy for memory, version 2 one for everything.
const versions = [
  { folder: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes" },
  { folder: "/sys/fs/cgroup", limit: "memory.max" }
]

let made = 0

/** Throws if this machine does not let this process create one. */
export const memoryGroup = (bytes: number): MemoryGroup => {
  const { folder, limit } = versions.find((version) => existsSync(version.folder)) ?? { folder: "", limit: "" }
  const group = join(folder, `effect-prometheus-${process.pid}-${made++}`)
  mkdirSync(group)
  try {
    writeFileSync(join(group, limit), String(bytes))
  } catch (error) {
    rmdirSync(group)
    throw error
  }
  return {
    folder: group,
    add: (pid) => writeFileSync(join(group, "cgroup.procs"), String(pid)),
    // The kernel may need a moment after the process has ended.
    remove: () => void setTimeout(() => rmdirSync(group), 200)
  }
}

/** Why no group can be created; empty if one can. */
export const withoutMemoryGroups = (): ReadonlyArray<string> => {
  try {
    memoryGroup(2 ** 26).remove()
    return []
  } catch (error) {
    return [`no control group can be created: ${error instanceof Error ? error.message : error}`]
  }
}
