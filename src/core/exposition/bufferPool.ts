/** A new buffer for each exposition would trigger garbage collection, which also discards compiled code. */

import { oncePerProcess } from "../util/oncePerProcess.js"
import type { Writer } from "./writer.js"

// In bytes, for each registry between two scrapes. A larger exposition gets a new buffer each time.
const mostKept = 4_194_304

const pool = oncePerProcess("buffers", () => new WeakMap<object, Writer>())

export const acquire = (registry: object): Writer | undefined => {
  const writer = pool.get(registry)
  pool.delete(registry)
  return writer
}

/** The caller must not use its bytes afterwards. */
export const release = (registry: object, writer: Writer): void => {
  if (writer.capacity > mostKept || writer.capacity < (pool.get(registry)?.capacity ?? 0)) return
  writer.length = 0
  pool.set(registry, writer)
}
