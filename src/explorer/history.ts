/** The last points of a line. */

/** The number of points: ten minutes. */
export const longest = 120

/** A ring of numbers. */
export class History {
  private readonly points = new Float64Array(longest)
  private next = 0
  length = 0

  push(value: number): void {
    this.points[this.next] = value
    this.next = (this.next + 1) % longest
    this.length = Math.min(this.length + 1, longest)
  }

  /** From the oldest to the newest. */
  all(): ReadonlyArray<number> {
    const start = (this.next - this.length + longest) % longest
    return Array.from({ length: this.length }, (_, index) => this.points[(start + index) % longest] ?? Number.NaN)
  }
}
