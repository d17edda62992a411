/** The worker's requests, summed up: one message each would fill the memory of a blocked main thread. */
import type { DurationCount, RequestEvent, ScrapeEvent, ScrapeReport } from "../registry/scrapeRecorder.js"
import type { ScrapeError } from "../registry/selfMetrics.js"
import { ownMetrics } from "../registry/selfMetrics.js"
import { nextTurn, setTimeout, type Timer } from "../util/realTimers.js"

// Exact durations in a report, enough for hundreds of scrapes a second. Further ones are summed up by bucket.
const mostExact = 1_000

/** The durations beyond `mostExact`. */
interface BucketSum {
  times: number
  sum: number
  least: number
  most: number
}

/** In a bounded amount of memory. */
class Durations {
  private readonly exact: Array<DurationCount> = []
  private readonly buckets = new Map<number, BucketSum>()

  add(seconds: number): void {
    if (this.exact.length < mostExact) {
      this.exact.push([seconds, 1])
      return
    }
    const bound = ownMetrics.duration.buckets.find((bound) => seconds <= bound) ?? Number.POSITIVE_INFINITY
    const added = this.buckets.get(bound)
    if (added === undefined) {
      this.buckets.set(bound, { times: 1, sum: seconds, least: seconds, most: seconds })
      return
    }
    added.times += 1
    added.sum += seconds
    added.least = Math.min(added.least, seconds)
    added.most = Math.max(added.most, seconds)
  }

  all(): ReadonlyArray<DurationCount> {
    // The mean of a bucket, kept in the bucket despite rounding.
    const means = [...this.buckets.values()].map(
      ({ least, most, sum, times }): DurationCount => [Math.max(least, Math.min(most, sum / times)), times]
    )
    return [...this.exact, ...means]
  }
}

const increase = <Key>(counts: Map<Key, number>, key: Key): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

export class ScrapeSums {
  isEmpty = true
  private inFlight = 0
  private scrapes = new Map<number, number>()
  private errors = new Map<ScrapeError, number>()
  private bytes = 0
  private durations = new Durations()

  add(event: RequestEvent): void {
    this.isEmpty = false
    if (event.tag === "Began") {
      this.inFlight += 1
      return
    }
    increase(this.scrapes, event.status)
    if (event.cause !== undefined) increase(this.errors, event.cause)
    if (event.tag === "Rejected") return
    this.inFlight -= 1
    this.bytes += event.bytes
    this.durations.add(event.seconds)
  }

  /** `undefined` if there was no event since the last call. */
  take(): ScrapeReport | undefined {
    if (this.isEmpty) return undefined
    const { bytes, durations, errors, inFlight, scrapes } = this
    this.isEmpty = true
    this.scrapes = new Map()
    this.errors = new Map()
    this.bytes = 0
    this.durations = new Durations()
    return { inFlight, scrapes: [...scrapes], errors: [...errors], bytes, durations: durations.all() }
  }
}

// The time between two reports of requests that the main thread takes no part in, in milliseconds.
const interval = 250

/**
 * Reports the end of a scrape at once, everything else within `interval`, and nothing while the last report is not
 * read. `send` is called before each scrape, so that its exposition contains all earlier requests.
 */
export class ScrapeReporter {
  private readonly sums = new ScrapeSums()
  private unread = 0
  private hasEnded = false
  private pause: Timer | undefined

  constructor(private readonly post: (report: ScrapeReport) => void) {}

  add(event: RequestEvent): void {
    this.sums.add(event)
    this.hasEnded ||= event.tag === "Ended"
    this.sendInTime()
  }

  send(): void {
    const report = this.sums.take()
    this.hasEnded = false
    if (report === undefined) return
    this.unread += 1
    this.post(report)
  }

  read(): void {
    this.unread -= 1
    this.sendInTime()
  }

  private sendInTime(): void {
    if (this.unread > 0 || this.sums.isEmpty) return
    if (this.pause === undefined) {
      this.pause = setTimeout(() => {
        this.pause = undefined
        this.sendInTime()
      }, interval)
      // It does not keep a closed worker alive.
      this.pause.unref()
    } else if (!this.hasEnded) return
    this.send()
  }
}

// Durations per turn of the event loop, so that a long report does not block it.
const perTurn = 2_048

/** Parts that take little time to record. All but further durations is in the first one. */
export const partsOf = ({ durations, ...counts }: ScrapeReport): ReadonlyArray<ScrapeReport> => {
  const parts: Array<Array<DurationCount>> = [[]]
  let room = perTurn
  for (const [seconds, times] of durations) {
    for (let left = times; left > 0; ) {
      if (room === 0) {
        parts.push([])
        room = perTurn
      }
      const taken = Math.min(left, room)
      parts.at(-1)?.push([seconds, taken])
      left -= taken
      room -= taken
    }
  }
  const further = { inFlight: counts.inFlight, scrapes: [], errors: [], bytes: 0 }
  return parts.map((durations, index) => ({ ...(index === 0 ? counts : further), durations }))
}

/** Records reports in their order; a large one in several turns of the event loop. */
export class ReportRecorder {
  private readonly waiting: Array<() => void> = []
  private recording: Promise<void> | undefined

  constructor(private readonly onEvent: (event: ScrapeEvent) => void) {}

  /** Calls `onRead` when all of it is recorded. */
  record(report: ScrapeReport, onRead: () => void): void {
    for (const part of partsOf(report)) this.waiting.push(() => this.onEvent({ tag: "Reported", report: part }))
    this.waiting.push(onRead)
    this.begin()
  }

  /** The worker has ended: its scrapes in flight are lost. */
  gone(): void {
    this.waiting.push(() => this.onEvent({ tag: "Gone" }))
    this.begin()
  }

  async settled(): Promise<void> {
    await this.recording
  }

  private begin(): void {
    if (this.recording !== undefined) return
    // Nearly always there is one part, which is recorded at once.
    this.waiting.shift()?.()
    if (this.waiting.length === 1) this.waiting.shift()?.()
    if (this.waiting.length > 0) this.recording = this.rest()
  }

  private async rest(): Promise<void> {
    while (this.waiting.length > 0) {
      await nextTurn()
      this.waiting.shift()?.()
    }
    this.recording = undefined
  }
}
