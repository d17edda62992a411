/** Content encodings, computed in the thread pool of Node.js. */
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import { preferred } from "../exposition/negotiation.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"

type Compress = (body: Uint8Array) => Promise<Uint8Array>

export interface Encoding {
  /** In `Accept-Encoding`. The first is that in `Content-Encoding`. */
  readonly names: readonly [string, ...ReadonlyArray<string>]
  /** Runs once for all requests that share the body. */
  readonly compress: Compress
}

// The pool has four threads, in which the application compresses, reads files and looks up names as well.
const mostAtOnce = 2
const pool = oncePerProcess("compressions", () => ({ running: 0, waiting: [] as Array<() => void> }))

const limited = async (compress: Compress, body: Uint8Array): Promise<Uint8Array> => {
  if (pool.running < mostAtOnce) pool.running += 1
  else await new Promise<void>((resolve) => pool.waiting.push(resolve))
  try {
    return await compress(body)
  } finally {
    const next = pool.waiting.shift()
    if (next === undefined) pool.running -= 1
    else next()
  }
}

const encoding = (compress: Compress, ...names: Encoding["names"]): Encoding => {
  const compressed = new WeakMap<Uint8Array, Promise<Uint8Array>>()
  return {
    names,
    compress: (body) => getOrInsert(compressed, body, () => limited(compress, body))
  }
}

/** The preferred one first. */
const encodings = [encoding(promisify(gzip), "gzip", "x-gzip")]

/** `undefined`: the body is sent as it is. */
export const encodingFor = preferred(encodings)
