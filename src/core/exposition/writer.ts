/** Creates no objects per part, so that a large exposition leaves no garbage except its buffer. */
import { Buffer, isAscii } from "node:buffer"

// The longest number that JavaScript writes is -0.0000012345678901234567.
const longestNumber = 25

/** The bytes to reserve for a value and the end of its line. */
export const roomForValue = longestNumber + 1

// Parts are copied eight bytes at a time: the last step can write seven bytes too many, and `blank` writes eight.
const overrun = 8

const zero = 48
const minus = 45
const newline = 10
const point = 46
const eightDigits = 100_000_000

export class Writer {
  /** In bytes. A caller may only lower it, which removes the last bytes. */
  length = 0
  private memory: Buffer
  private view: DataView

  constructor(capacity = 64) {
    this.memory = Buffer.allocUnsafeSlow(Math.ceil(capacity) + overrun)
    this.view = viewOf(this.memory)
  }

  get capacity(): number {
    return this.memory.length - overrun
  }

  /** They share the memory of the writer. */
  bytes(): Uint8Array {
    return new Uint8Array(this.memory.buffer, 0, this.length)
  }

  /** Required by the methods whose names begin with `unsafe`. */
  reserve(count: number): void {
    const needed = this.length + count + overrun
    if (needed <= this.memory.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.memory.length))
    this.memory.copy(larger, 0, 0, this.length)
    this.memory = larger
    this.view = viewOf(larger)
  }

  /** A lone surrogate becomes U+FFFD, as always in UTF-8. */
  text(text: string): void {
    this.reserve(3 * text.length)
    this.length += this.memory.write(text, this.length)
    this.blank()
  }

  copy(source: Writer, start: number, end: number): void {
    this.reserve(end - start)
    this.unsafeCopy(source, start, end)
    this.blank()
  }

  // Clears the next eight bytes: a copy of the last bytes reads them too, and they must be valid text.
  private blank(): void {
    this.view.setFloat64(this.length, 0)
  }

  /**
   * `end - start` bytes must be reserved, and `text` and `copy` must have filled `source`. Copies eight bytes at a time
   * as floating-point numbers, which the engine moves without an object; no eight bytes of UTF-8 are a NaN, whose bits
   * could change.
   */
  unsafeCopy(source: Writer, start: number, end: number): void {
    const { view } = this
    const other = source.view
    let at = this.length
    for (let from = start; from < end; from += 8) {
      view.setFloat64(at, other.getFloat64(from, true), true)
      at += 8
    }
    this.length += end - start
  }

  /** One byte must be reserved. */
  unsafeNewline(): void {
    this.unsafeByte(newline)
  }

  private unsafeByte(byte: number): void {
    this.memory[this.length] = byte
    this.length += 1
  }

  /** `longestNumber` bytes must be reserved. */
  unsafeNumber(value: number): void {
    const start = this.length
    const magnitude = Math.abs(value)
    if (value < 0) this.unsafeByte(minus)
    if (magnitude <= Number.MAX_SAFE_INTEGER && Math.floor(magnitude) === magnitude) this.unsafeWhole(magnitude)
    else if (!this.unsafeDecimal(magnitude)) {
      this.length = start
      this.unsafeAscii(numberText(value))
    }
  }

  // For at most nine decimal places and fifteen digits: no two of those are the same floating-point number. So if one
  // of them equals this number, it is its shortest text, which is what String returns.
  private unsafeDecimal(value: number): boolean {
    const billionths = Math.round(value * 1e9)
    if (billionths / 1e9 !== value || billionths >= 1e15 || value < 1e-6) return false
    const whole = Math.floor(value)
    this.unsafeWhole(whole)
    this.unsafeByte(point)
    this.unsafeDigits(billionths - whole * 1e9, 9)
    while (this.memory[this.length - 1] === zero) this.length -= 1
    return true
  }

  // A safe integer has at most sixteen digits.
  private unsafeWhole(value: number): void {
    const high = Math.floor(value / eightDigits)
    if (high === 0) {
      this.unsafeDigits(value, widthOf(value))
    } else {
      this.unsafeDigits(high, widthOf(high))
      this.unsafeDigits(value - high * eightDigits, 8)
    }
  }

  // Below one hundred million, the engine computes with small integers.
  private unsafeDigits(value: number, width: number): void {
    const { memory } = this
    const end = this.length + width
    let rest = value | 0
    for (let at = end - 1; at >= this.length; at -= 1) {
      const quotient = (rest / 10) | 0
      memory[at] = zero + rest - quotient * 10
      rest = quotient
    }
    this.length = end
  }

  private unsafeAscii(text: string): void {
    const { memory, length } = this
    for (let at = 0; at < text.length; at += 1) memory[length + at] = text.charCodeAt(at)
    this.length = length + text.length
  }
}

export const numberText = (value: number): string => {
  if (value === Number.POSITIVE_INFINITY) return "+Inf"
  if (value === Number.NEGATIVE_INFINITY) return "-Inf"
  return String(value)
}

export const textOf = (bytes: Uint8Array): string => {
  const { buffer, byteLength, byteOffset } = bytes
  // ASCII bytes are copied as they are.
  return Buffer.from(buffer, byteOffset, byteLength).toString(isAscii(bytes) ? "latin1" : "utf8")
}

const viewOf = ({ buffer, byteOffset, length }: Buffer): DataView => new DataView(buffer, byteOffset, length)

const widthOf = (value: number): number => {
  if (value < 10_000) return value < 100 ? (value < 10 ? 1 : 2) : value < 1_000 ? 3 : 4
  return value < 1_000_000 ? (value < 100_000 ? 5 : 6) : value < 10_000_000 ? 7 : 8
}
