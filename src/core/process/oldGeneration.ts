/**
 * The limit of V8's old generation, which V8 does not expose. The limit of the heap is the sum of this limit and of three
 * semi-spaces, whose size is a power of two in MiB. So the setting that applies is the one that leaves such a rest.
 *
 * V8 internals: tested with Node.js 20, 22 and 24, and with Deno 2. If no known setting applies, as with
 * `--max-heap-size`, the limit is estimated from the largest semi-spaces so far. It is then up to a tenth too high until
 * these have grown to their limit. Deno does not show the flags of V8, so there the limit is undefined instead.
 */
import { resourceLimits } from "node:worker_threads"

const mebibyte = 2 ** 20
const gibibyte = 2 ** 30

const sizeFlag = /(?:^|[\s"])--max[-_]old[-_]space[-_]size="?(\d+)/g
const percentageFlag = /(?:^|[\s"])--max[-_]old[-_]space[-_]size[-_]percentage="?([\d.]+)/g

// The command line overrides NODE_OPTIONS, and the last flag the ones before it.
const flagged = (flag: RegExp): number => {
  const flags = [process.env["NODE_OPTIONS"] ?? "", ...process.execArgv].join(" ")
  return Number([...flags.matchAll(flag)].at(-1)?.[1])
}

// In V8's order, in bytes. NaN for what is not set; only a worker thread has resource limits. The other ones are those
// that V8 calculates from the memory.
const settings = (memory: number): ReadonlyArray<number> => [
  flagged(sizeFlag) * mebibyte,
  (flagged(percentageFlag) / 100) * memory,
  Number(resourceLimits.maxOldGenerationSizeMb) * mebibyte,
  4 * gibibyte,
  2 * gibibyte,
  Math.max(memory / 2, gibibyte / 4)
]

// Undefined if the setting leaves another rest, such as a NODE_OPTIONS that was changed after the start. V8 rounds the
// setting to whole pages, which are smaller than a mebibyte.
const semiSpace = (limit: number, setting: number): number | undefined => {
  const rest = (limit - setting) / 3
  const size = 2 ** Math.round(Math.log2(rest / mebibyte)) * mebibyte
  return size >= mebibyte && Math.abs(rest - size) < mebibyte / 3 ? size : undefined
}

const isDeno = "deno" in process.versions

let largest = 0

/** In bytes. `newSpace` is the size of two semi-spaces, `memory` what the process may use. */
export const oldGenerationLimit = (limit: number, newSpace: number, memory: number): number | undefined => {
  largest = Math.max(largest, newSpace / 2)
  const [exact] = settings(memory).flatMap((setting) => semiSpace(limit, setting) ?? [])
  if (exact === undefined && isDeno) return undefined
  return limit - 3 * (exact ?? largest)
}
