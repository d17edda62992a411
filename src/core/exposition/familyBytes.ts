/** Made once for all scrapes of the same families. */
import { Buffer } from "node:buffer"
import { paced } from "../util/eventLoopSlices.js"
import { getOrInsert } from "../util/getOrInsert.js"
import type { WrittenFamily } from "./render.js"
import type { Writer } from "./writer.js"

export class FamilyBytes {
  private readonly known = new Map<string, Promise<Uint8Array>>()
  private whole: { readonly size: number; readonly bytes: Promise<Uint8Array> } | undefined

  constructor(private readonly writer: Writer) {}

  /** The bytes are shared and must not be changed. If `isComplete`, those of all families are not copied. */
  bytesOf(families: ReadonlyArray<WrittenFamily>, end: string, isComplete: boolean): Promise<Uint8Array> {
    if (isComplete && this.isAll(families)) return this.wholeOf(end)
    const key = families.map(({ index }) => index).join()
    return getOrInsert(this.known, key, () => this.copyOf(families, end))
  }

  copyOf(families: ReadonlyArray<WrittenFamily>, end: string): Promise<Uint8Array> {
    return paced(() => {
      const ending = Buffer.from(end)
      const copy = Buffer.allocUnsafeSlow(families.reduce((sum, { length }) => sum + length, ending.byteLength))
      const written = this.writer.bytes()
      let at = 0
      for (const { length, start } of families) {
        copy.set(written.subarray(start, start + length), at)
        at += length
      }
      copy.set(ending, at)
      return copy
    })
  }

  // All families, in the order in which they were written.
  private isAll(families: ReadonlyArray<WrittenFamily>): boolean {
    let size = 0
    for (const family of families) {
      if (family.start !== size) return false
      size += family.length
    }
    return size === (this.whole?.size ?? this.writer.length)
  }

  private wholeOf(end: string): Promise<Uint8Array> {
    if (this.whole !== undefined) return this.whole.bytes
    const size = this.writer.length
    this.writer.text(end)
    const bytes = Promise.resolve(this.writer.bytes())
    this.whole = { size, bytes }
    return bytes
  }
}
