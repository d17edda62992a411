/**
 * Memory for one exposition after the other of the same registry. New memory for each of them sets off the garbage
 * collector time and again, and with it goes what the engine had compiled.
 */
import type { Writer } from "./writer.js"

// What stays with a registry between two scrapes, in bytes. Of one that is larger the memory is new each time.
const mostKept = 4_194_304

const spares = new WeakMap<object, Writer>()

/** A writer that nobody uses any more, if there is one. */
export const takeSpare = (registry: object): Writer | undefined => {
  const writer = spares.get(registry)
  spares.delete(registry)
  return writer
}

/** Nobody will look at what is written there any more. */
export const giveBack = (registry: object, writer: Writer): void => {
  if (writer.capacity > mostKept || writer.capacity < (spares.get(registry)?.capacity ?? 0)) return
  writer.length = 0
  spares.set(registry, writer)
}
