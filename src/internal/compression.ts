/** Compression, in a thread of Node.js' own pool. */
import { gzip } from "node:zlib"

// The pool has four threads, in which the application compresses, reads files and looks up names as well. What more there
// is to compress waits for its turn.
const mostAtOnce = 2
let running = 0
const waiting: Array<() => void> = []

const gzipped = async (body: Uint8Array): Promise<Uint8Array> => {
  if (running < mostAtOnce) running += 1
  else await new Promise<void>((resolve) => waiting.push(resolve))
  try {
    return await new Promise((resolve, reject) =>
      gzip(body, (error, zipped) => (error ? reject(error) : resolve(zipped)))
    )
  } finally {
    // It goes on to the next one, if there is one.
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next()
  }
}

// By the body, so that those who share one share its compression.
const compressed = new WeakMap<Uint8Array, Promise<Uint8Array>>()

/** The body with gzip, once for all who ask for the same one. */
export const compress = (body: Uint8Array): Promise<Uint8Array> => {
  const known = compressed.get(body) ?? gzipped(body)
  compressed.set(body, known)
  return known
}
