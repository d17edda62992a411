/** The numbers of a distribution about a minute ago, from which the observations of the last minute are calculated. */
import type { Distribution, Point } from "./model.js"

const minute = 60_000
// A user who refreshes again and again does not make the page remember more.
const leastDistance = 4_000

/** When snapshots are taken, and the one to compare with. */
export class SnapshotTimes {
  /** The time that is closest to a minute ago; `undefined` at the first exposition. */
  baseline: number | undefined
  /** Whether a snapshot is to be taken of this exposition. */
  isDue = false
  private times: Array<number> = []

  /** Another exposition begins; its time is in milliseconds. */
  begin(at: number): void {
    const distance = (time: number): number => Math.abs(at - time - minute)
    const [first, ...others] = this.times
    this.baseline = first
    for (const time of others) {
      if (this.baseline === undefined || distance(time) < distance(this.baseline)) this.baseline = time
    }
    // An older one is never the closest again.
    const { baseline } = this
    if (baseline !== undefined) this.times = this.times.filter((time) => time >= baseline)
    this.isDue = at - (this.times.at(-1) ?? Number.NEGATIVE_INFINITY) >= leastDistance
    if (this.isDue) this.times.push(at)
  }
}

/** The numbers of a distribution at one time. */
export interface Snapshot {
  readonly at: number
  readonly count: number
  readonly sum: number
  /** By the index of each point. A point that was added later has none, and began at 0. */
  readonly values: Float64Array
}

/** The snapshots of one distribution. A snapshot holds until the next one, so nothing is kept of one that never changes. */
export class Recent {
  private snapshots: Array<Snapshot> = []

  /** The numbers at the baseline. */
  get base(): Snapshot | undefined {
    return this.snapshots[0]
  }

  /** All of its observations are new: it was added, or it was reset. */
  restart(): void {
    this.snapshots = [{ at: Number.NEGATIVE_INFINITY, count: 0, sum: 0, values: new Float64Array(0) }]
  }

  /** Forgets what is older than the baseline. */
  trim(baseline: number): void {
    while ((this.snapshots[1]?.at ?? Number.POSITIVE_INFINITY) <= baseline) this.snapshots.shift()
  }

  take(at: number, count: number, { points, sum }: Pick<Distribution, "points" | "sum">): void {
    const last = this.snapshots.at(-1)
    const isSame =
      last !== undefined &&
      Object.is(last.count, count) &&
      Object.is(last.sum, sum) &&
      points.every(({ index, value }) => last.values[index] === value)
    if (isSame) return
    const values = new Float64Array(points.length)
    for (const { index, value } of points) values[index] = value
    this.snapshots.push({ at, count, sum, values })
  }

  /** Some points are gone: the others get new indices. */
  renumber(points: ReadonlyArray<Point>): void {
    this.snapshots = this.snapshots.map((snapshot) => ({
      ...snapshot,
      values: Float64Array.from(points, ({ index }) => snapshot.values[index] ?? 0)
    }))
    points.forEach((point, index) => {
      point.index = index
    })
  }
}
