/** The values of metrics that are asked for them, and may take their time or never answer. */
import type { FamilyInfo } from "./encoder.js"
import type { SharingSample } from "./histogramSamples.js"
import type { Pace } from "./pace.js"
import { nextTurn } from "./pace.js"
import type { Metric } from "./store.js"

/** A family as a client's `get()` gives it. */
export interface Family extends FamilyInfo {
  readonly values: ReadonlyArray<SharingSample>
}

/** The metric did not answer for as long as it was waited for. */
export class LateError extends Error {
  override readonly name = "LateError"
  constructor() {
    super("it did not answer in time")
  }
}

type Answer = PromiseSettledResult<Family>

interface Reading {
  readonly result: Promise<Answer>
  answer: Answer | undefined
  /** Those who wait for it, and may cease to: a promise keeps what it is asked to tell for as long as it is pending. */
  readonly waiting: Set<(answer: Answer) => void>
}

// What was asked for and given up on. Until such a metric answers it is waited for, and not asked again: one that hangs
// would otherwise hang once more with each scrape.
const abandoned = new WeakMap<object, Reading>()

/** The readings of one exposition. */
export class Readings {
  private readonly begun = new Map<Metric, Reading>()
  private timer: NodeJS.Timeout | undefined
  private readonly lateness: Promise<undefined> | undefined
  private isLate = false

  /** They are waited for up to that moment of `performance.now()`, or for as long as they take. */
  constructor(
    private readonly pace: Pace,
    until: number | undefined
  ) {
    if (until === undefined) return
    this.lateness = new Promise((resolve) => {
      this.timer = setTimeout(
        () => {
          this.isLate = true
          resolve(undefined)
        },
        Math.max(0, until - performance.now())
      )
      // A process that has nothing else to wait for does not go on for this.
      this.timer.unref()
    })
  }

  /** Asks the metric, without waiting for its answer. */
  begin(metric: Metric): Reading {
    const reading = abandoned.get(metric) ?? begin(metric)
    this.begun.set(metric, reading)
    return reading
  }

  /** The answer of a metric. It rejects as the metric does, or with a `LateError`. */
  async of(metric: Metric): Promise<Family> {
    const begun = this.begun.get(metric)
    const first = this.inTime(begun ?? this.begin(metric))
    const answer = await (begun === undefined ? first : this.pace.waitFor(first))
    if (answer === undefined) throw new LateError()
    if (answer.status === "rejected") throw answer.reason
    return answer.value
  }

  private inTime(reading: Reading): Promise<Answer | undefined> {
    if (this.lateness === undefined) return reading.result
    // One that has its answer ready is never late.
    const lateness = this.isLate ? nextTurn() : this.lateness
    return new Promise((resolve) => {
      reading.waiting.add(resolve)
      if (reading.answer !== undefined) resolve(reading.answer)
      void lateness.then(() => {
        reading.waiting.delete(resolve)
        resolve(undefined)
      })
    })
  }

  /** Those among the metrics that have been asked and have not answered. */
  pending(): ReadonlySet<Metric> {
    return new Set([...this.begun].filter(([, { answer }]) => answer === undefined).map(([metric]) => metric))
  }

  /** Nobody waits any more. */
  end(): void {
    clearTimeout(this.timer)
    for (const [metric, reading] of this.begun) if (reading.answer === undefined) abandoned.set(metric, reading)
  }
}

const begin = (metric: Metric): Reading => {
  const reading: Reading = { result: settled(metric), answer: undefined, waiting: new Set() }
  void reading.result.then((answer) => {
    reading.answer = answer
    // Two runs at the same time may both have asked, and given up.
    if (abandoned.get(metric) === reading) abandoned.delete(metric)
    for (const resolve of reading.waiting) resolve(answer)
    reading.waiting.clear()
  })
  return reading
}

// `getForPromString` is what the clients render their histograms from: it makes no copy of the labels for every bucket.
const settled = async (metric: Metric): Promise<Answer> => {
  try {
    const value = await (metric.getForPromString === undefined ? metric.get() : metric.getForPromString())
    return { status: "fulfilled", value: value as Family }
  } catch (reason) {
    return { status: "rejected", reason }
  }
}
