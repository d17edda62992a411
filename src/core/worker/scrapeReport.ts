/**
 * What happens to the requests for the metrics in a worker, added up. The registry is in the main thread: one message for
 * each request would fill its memory while it is stuck, and take its time afterwards.
 */
import type { RequestEvent, ScrapeError, ScrapeEvent } from "./selfMetrics.js"
import { ownMetrics } from "./selfMetrics.js"
import type { Timer } from "./timer.js"
import { nextTurn, setTimeout } from "./timer.js"

/** What has happened since the last report. It can be sent to another thread. */
export interface ScrapeReport {
  /** How many scrapes are in flight now. */
  readonly inFlight: number
  /** Answers by status code. */
  readonly scrapes: ReadonlyArray<readonly [status: number, times: number]>
  /** Scrapes that got no exposition, by cause. */
  readonly errors: ReadonlyArray<readonly [cause: ScrapeError, times: number]>
  /** Of the expositions. */
  readonly bytes: number
  readonly durations: ReadonlyArray<Duration>
}

/** So many scrapes that took so long. */
export type Duration = readonly [seconds: number, times: number]

// So many durations of a report are exact: hundreds of scrapes a second have them. Of more, those of a bucket are added up.
const mostExact = 1_000

/** The durations that belong to one bucket of the histogram, beyond those that are exact. */
interface Added {
  times: number
  sum: number
  least: number
  most: number
}

/** Durations, in a bounded amount of memory. */
class Durations {
  private readonly exact: Array<Duration> = []
  private readonly buckets = new Map<number, Added>()

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

  all(): ReadonlyArray<Duration> {
    // A mean that is rounded stays in its bucket.
    const means = [...this.buckets.values()].map(
      ({ least, most, sum, times }): Duration => [Math.max(least, Math.min(most, sum / times)), times]
    )
    return [...this.exact, ...means]
  }
}

const increase = <Key>(counts: Map<Key, number>, key: Key): void => {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

/** Adds events up until they are taken. */
export class ScrapeSums {
  /** Whether nothing has happened since it was taken the last time. */
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
    if (event.tag === "Refused") return
    this.inFlight -= 1
    this.bytes += event.bytes
    this.durations.add(event.seconds)
  }

  /** What has happened since; `undefined` if nothing has. */
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

// How long there is between two reports of requests that the main thread has nothing to do with, in milliseconds.
const interval = 250

/**
 * Reports from the worker. The end of a scrape is reported at once, and everything else after `interval` at most, but
 * nothing while the main thread has yet to read a report. Before a scrape, `send` is called in any case, so that its
 * exposition contains everything that happened before.
 */
export class ScrapeReporter {
  private readonly sums = new ScrapeSums()
  private unread = 0
  private hasEnded = false
  private pause: Timer | undefined

  constructor(private readonly post: (report: ScrapeReport) => void) {}

  tell(event: RequestEvent): void {
    this.sums.add(event)
    this.hasEnded ||= event.tag === "Ended"
    this.sendInTime()
  }

  /** Sends what has been added up now. */
  send(): void {
    const report = this.sums.take()
    this.hasEnded = false
    if (report === undefined) return
    this.unread += 1
    this.post(report)
  }

  /** The main thread has read a report. */
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
      // A worker that has closed does not stay for it.
      this.pause.unref()
    } else if (!this.hasEnded) return
    this.send()
  }
}

// So many durations are observed in one turn of the event loop, so that a long report does not hold it.
const perTurn = 2_048

/** A report in parts, each of which takes little time to record. All but further durations is in the first one. */
export const partsOf = ({ durations, ...counts }: ScrapeReport): ReadonlyArray<ScrapeReport> => {
  const parts: Array<Array<Duration>> = [[]]
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

/** Records in the main thread what the worker reports: in its order, and a large report in several turns of the event loop. */
export class ScrapeRecorder {
  private readonly waiting: Array<() => void> = []
  private recording: Promise<void> | undefined

  constructor(private readonly tell: (event: ScrapeEvent) => void) {}

  /** Calls `onRead` when all of it is recorded. */
  record(report: ScrapeReport, onRead: () => void): void {
    for (const part of partsOf(report)) this.waiting.push(() => this.tell({ tag: "Reported", report: part }))
    this.waiting.push(onRead)
    this.begin()
  }

  /** The worker is gone, and with it the scrapes that it had in flight. */
  gone(): void {
    this.waiting.push(() => this.tell({ tag: "Gone" }))
    this.begin()
  }

  /** Ends when everything that was reported is recorded. */
  async settled(): Promise<void> {
    await this.recording
  }

  private begin(): void {
    if (this.recording !== undefined) return
    // Nearly always that is all: what was reported is recorded at once.
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
