/** Events between two scrapes, which cannot be read at a scrape: garbage collections, and delays of the event loop. */
import { constants, type IntervalHistogram, monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks"
import { clearTimeout, nextTurn, now, setTimeout, type Timer } from "../util/realTimers.js"

export const gcKinds = ["major", "minor", "incremental", "weakcb"] as const

const kinds = new Map<unknown, string>([
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  // V8 has two ways to collect the young generation.
  [2, "minor"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weakcb"]
])

/** In seconds. Returns a function that stops it. */
export const onGarbageCollection = (observe: (kind: string, seconds: number) => void): (() => void) => {
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { detail } = entry as { readonly detail?: { readonly kind?: unknown } }
      observe(kinds.get(detail?.kind) ?? "other", entry.duration / 1e3)
    }
  })
  observer.observe({ entryTypes: ["gc"] })
  return () => observer.disconnect()
}

/** In seconds. */
export interface Lag {
  readonly min: number
  readonly max: number
  readonly mean: number
  readonly stddev: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

/** How long a monitor measures before a younger one replaces it, in milliseconds. */
export const generation = 60_000

/**
 * Measures by a timer every `resolution` milliseconds. A scrape does not reset it, so all scrapers read the same
 * values: those of the older of two monitors, which covers the last one to two minutes.
 */
export class LagMonitor {
  private older: IntervalHistogram
  private younger: IntervalHistogram
  private turn: Timer

  constructor(private readonly resolution: number) {
    this.older = this.begun()
    // Both monitors are the same until the first turn.
    this.younger = this.older
    this.turn = this.nextGeneration()
  }

  private nextGeneration(): Timer {
    const timer = setTimeout(() => {
      if (this.older !== this.younger) this.older.disable()
      this.older = this.younger
      this.younger = this.begun()
      this.turn = this.nextGeneration()
    }, generation)
    timer.unref()
    return timer
  }

  private begun(): IntervalHistogram {
    const histogram = monitorEventLoopDelay({ resolution: this.resolution })
    histogram.enable()
    return histogram
  }

  /** `undefined` until the first measurement. */
  read(): Lag | undefined {
    const { older } = this
    if (older.max === 0) return undefined
    // The monitor measures from one timer to the next, so the wait itself is subtracted.
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - this.resolution / 1e3)
    return {
      min: late(older.min),
      max: late(older.max),
      mean: late(older.mean),
      stddev: older.stddev / 1e9,
      p50: late(older.percentile(50)),
      p90: late(older.percentile(90)),
      p99: late(older.percentile(99))
    }
  }

  stop(): void {
    clearTimeout(this.turn)
    this.older.disable()
    this.younger.disable()
  }
}

/** The delay of work that is due immediately, in seconds. */
export const lagNow = (): Promise<number> => {
  const start = now()
  return nextTurn().then(() => (now() - start) / 1e3)
}
