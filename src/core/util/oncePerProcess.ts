/**
 * State that exists once in a process (in a thread, or in the environment of a test file), even if it has several copies
 * of this library: its ES modules and its CommonJS files, or two installations. Other versions have their own state,
 * because they may need another shape.
 */
import { version } from "./build.js"
import { getOrInsert } from "./getOrInsert.js"

/** A property of the global object, by the registry of symbols, which all copies share. */
export const ofGlobalObject = <A>(name: string, make: () => A): A => {
  const symbol = Symbol.for(`effect-prometheus/${name}`)
  const globals = globalThis as { [symbol]?: A }
  if (globals[symbol] === undefined) Object.defineProperty(globals, symbol, { value: make() })
  return globals[symbol] as A
}

const all = ofGlobalObject(version, () => new Map<string, unknown>())

/** The first copy that asks for it makes it. */
export const oncePerProcess = <A>(name: string, make: () => A): A => getOrInsert(all, name, make) as A
