/** What cannot be read at a scrape, because it happens between two of them: garbage collections, and a late event loop. */
import type { IntervalHistogram } from "node:perf_hooks"
import { constants, monitorEventLoopDelay, PerformanceObserver } from "node:perf_hooks"
import type { Timer } from "./timer.js"
import { clearTimeout, nextTurn, now, setTimeout } from "./timer.js"

/** The kinds of garbage collections. */
export const gcKinds = ["major", "minor", "incremental", "weakcb"] as const

const kinds = new Map<unknown, string>([
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  // V8 has two ways to collect what is young.
  [2, "minor"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weakcb"]
])

/** Tells of each garbage collection of this thread, with its seconds. What comes back ends it. */
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

/** How late the event loop was, in seconds. */
export interface Lag {
  readonly min: number
  readonly max: number
  readonly mean: number
  readonly stddev: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

/** For how long a monitor measures before a younger one takes its place, in milliseconds. */
export const generation = 60_000

/**
 * Watches how late the event loop is, by a timer every `resolution` milliseconds.
 *
 * Nobody resets it, so it tells every scraper the same. There are two monitors at a time, and the older one is asked: it
 * has seen the last one to two minutes.
 */
export class LagMonitor {
  private older: IntervalHistogram
  private younger: IntervalHistogram
  private turn: Timer

  constructor(private readonly resolution: number) {
    this.older = this.begun()
    // The first pair is of one age until the first turn.
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
    // It measures from one of its timers to the next, of which the wait itself is no delay.
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

/** How late something is that is due at once, in seconds. */
export const lagNow = (): Promise<number> => {
  const start = now()
  return nextTurn().then(() => (now() - start) / 1e3)
}
