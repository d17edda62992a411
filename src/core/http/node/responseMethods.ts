/**
 * Observes the methods by which code writes a Node.js response. All responses share the functions: functions of its own
 * would be created for each response, and would keep the engine from compiling their calls.
 */
import { type IncomingMessage, ServerResponse } from "node:http"

/** A method of a response, as it was before it was observed. */
export type Method = (...args: never) => unknown

/** What observes a response. Its methods call the observed ones. */
export interface Writing {
  readonly response: ServerResponse
  ends(end: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown
  writes(write: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown
  writesHead(writeHead: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown
}

const writingKey = Symbol("effect-prometheus/writing")

interface Observed {
  [writingKey]?: Writing | undefined
}

/** The request has the property if the methods are those of a prototype; otherwise the response has it. */
interface ObservedResponse extends ServerResponse, Observed {
  req: IncomingMessage & Observed
}

/**
 * From now on, the methods of the response call those of `writing`. Returns false if they already call those of another,
 * or if they are not the methods of Node.js.
 */
export const observe = (request: IncomingMessage, writing: Writing): boolean => {
  const response = writing.response as ObservedResponse
  if (!(response instanceof ServerResponse) || writingOf(response) !== undefined) return false
  if (response.req === request && Object.isExtensible(request) && areInherited(response)) {
    response.req[writingKey] = writing
    return true
  }
  if (!hasMethods(response, native) || !Object.isExtensible(response)) return false
  response[writingKey] = writing
  response.end = methods.end
  response.write = methods.write
  response.writeHead = methods.writeHead
  return true
}

/** A connection that is kept open refers to its last request, which from now on refers to `writing` no longer. */
export const release = (request: IncomingMessage & Observed, writing: Writing): void => {
  // The application may have frozen it.
  if (request[writingKey] === writing) Reflect.set(request, writingKey, undefined)
}

const writingOf = (response: ObservedResponse): Writing | undefined => {
  const own = response[writingKey]
  if (own !== undefined) return own
  try {
    const found = response.req?.[writingKey]
    return found !== undefined && isOf(found, response) ? found : undefined
  } catch {
    // The request of a test tool may throw when it is read.
    return undefined
  }
}

// Not of another response to the same request.
const isOf = ({ response }: Writing, called: object): boolean =>
  called === response || Object.getPrototypeOf(called) === response

const native = ServerResponse.prototype

type Methods = Pick<ServerResponse, "end" | "write" | "writeHead">

const hasMethods = ({ end, write, writeHead }: Methods, expected: Methods): boolean =>
  end === expected.end && write === expected.write && writeHead === expected.writeHead

// A method may be called on an object that is not observed, as if it were the method of Node.js.
const methods = {
  end(this: ObservedResponse, ...args: ReadonlyArray<unknown>) {
    const writing = writingOf(this)
    return writing === undefined ? Reflect.apply(native.end, this, args as never) : writing.ends(native.end, this, args)
  },
  write(this: ObservedResponse, ...args: ReadonlyArray<unknown>) {
    const writing = writingOf(this)
    return writing === undefined
      ? Reflect.apply(native.write, this, args as never)
      : writing.writes(native.write, this, args)
  },
  writeHead(this: ObservedResponse, ...args: ReadonlyArray<unknown>) {
    const writing = writingOf(this)
    return writing === undefined
      ? Reflect.apply(native.writeHead, this, args as never)
      : writing.writesHead(native.writeHead, this, args)
  }
} as Methods

/**
 * Whether the prototype of the response has the methods. They are added to one that a framework made for all of its
 * responses, as Express does. Express sets it on each response, which gives the response a shape of its own in V8 before
 * version 13: there, each property that is added to the response itself costs about 5 µs.
 */
const areInherited = (response: ServerResponse): boolean => {
  if (hasMethods(response, methods)) return !Object.hasOwn(response, "end")
  const prototype = hasMethods(response, native) ? madePrototypeOf(response) : undefined
  return prototype !== undefined && names.every((name) => Reflect.defineProperty(prototype, name, inherited(name)))
}

const names = ["end", "write", "writeHead"] as const

const inherited = (name: keyof Methods): PropertyDescriptor => ({
  value: methods[name],
  configurable: true,
  writable: true
})

/**
 * The prototype next to that of Node.js: an application that is mounted in another one inherits from it. Classes are left
 * as they are, because they belong to the application.
 */
const madePrototypeOf = (response: ServerResponse): object | undefined => {
  let found: object | undefined
  for (let each: object | null = Object.getPrototypeOf(response); each !== native; each = Object.getPrototypeOf(each)) {
    if (each === null || Object.hasOwn(each, "constructor")) return undefined
    found = each
  }
  return found
}
