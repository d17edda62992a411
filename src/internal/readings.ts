/**
 * The values of metrics that are asked for them, and may take their time or never answer.
 *
 * One reading of a metric serves all renders that need it before it is over, whatever their formats, families, limits and
 * registries. Two at the same time could spoil each other: a `collect` that resets its metric, waits and sets it again
 * would count twice what it finds. What has been read is never used for a render that begins later.
 */
import type { FamilyInfo } from "./encoder.js"
import type { SharingSample } from "./histogramSamples.js"
import type { Pace } from "./pace.js"
import type { Metric } from "./store.js"
import type { Timer } from "./timer.js"
import { clearTimeout, nextTurn, now, setTimeout } from "./timer.js"

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
  /** Renders that wait for it, and may cease to: a promise keeps what it resolves for as long as it is pending. */
  readonly waiting: Set<(answer: Answer) => void>
}

// Those that are not over. A metric that does not answer stays here when no render waits for it any more, and is not asked
// again until it does: one that hangs would otherwise hang once more with each scrape.
const running = new WeakMap<object, Reading>()

/** Tells a render that it is not needed any more. An `AbortSignal` takes longer to make than a small registry to render. */
export interface Leaving {
  hasLeft: boolean
  onLeave: (() => void) | undefined
}

/** Until when metrics are waited for. */
export interface Patience {
  /** A moment of `now()`. Default: for as long as they take. */
  readonly until?: number | undefined
  /** Ends it before. */
  readonly leaving?: Leaving | undefined
}

/** The readings of one exposition. */
export class Readings {
  private readonly asked = new Map<Metric, Reading>()
  private timer: Timer | undefined
  private lateness: Promise<undefined> | undefined
  private isLate = false

  constructor(
    private readonly pace: Pace,
    private readonly patience: Patience
  ) {}

  /** Asks the metric, without waiting for its answer. */
  begin(metric: Metric): Reading {
    const reading = running.get(metric) ?? begun(metric)
    this.asked.set(metric, reading)
    return reading
  }

  /** The answer of a metric. It rejects as the metric does, or with a `LateError`. */
  async of(metric: Metric): Promise<Family> {
    const asked = this.asked.get(metric)
    const first = this.inTime(asked ?? this.begin(metric))
    const answer = await (asked === undefined ? first : this.pace.waitFor(first))
    if (answer === undefined) throw new LateError()
    if (answer.status === "rejected") throw answer.reason
    return answer.value
  }

  /** The reading of a metric that has failed, which may have served other renders as well. */
  failed(metric: object): object | undefined {
    const reading = this.asked.get(metric as Metric)
    return reading?.answer?.status === "rejected" ? reading : undefined
  }

  private inTime(reading: Reading): Promise<Answer | undefined> {
    if (this.patience.until === undefined && this.patience.leaving === undefined) return reading.result
    // One that has its answer ready is never late.
    const lateness = this.isLate ? nextTurn() : this.untilLate()
    return new Promise((resolve) => {
      reading.waiting.add(resolve)
      if (reading.answer !== undefined) resolve(reading.answer)
      void lateness.then(() => {
        reading.waiting.delete(resolve)
        resolve(undefined)
      })
    })
  }

  private untilLate(): Promise<undefined> {
    const { leaving, until } = this.patience
    this.lateness ??= new Promise((resolve) => {
      const late = (): void => {
        this.isLate = true
        resolve(undefined)
      }
      if (leaving !== undefined) leaving.onLeave = late
      if (leaving?.hasLeft) late()
      if (until === undefined) return
      this.timer = setTimeout(late, Math.max(0, until - now()))
      // A process that has nothing else to wait for does not go on for this.
      this.timer.unref()
    })
    return this.lateness
  }

  /** Those among the metrics that have been asked and have not answered. */
  pending(): ReadonlySet<Metric> {
    return new Set([...this.asked].filter(([, { answer }]) => answer === undefined).map(([metric]) => metric))
  }

  /** The render is over. */
  end(): void {
    clearTimeout(this.timer)
  }
}

const begun = (metric: Metric): Reading => {
  const reading: Reading = { result: settled(metric), answer: undefined, waiting: new Set() }
  running.set(metric, reading)
  void reading.result.then((answer) => {
    reading.answer = answer
    running.delete(metric)
    for (const resolve of reading.waiting) resolve(answer)
    reading.waiting.clear()
  })
  return reading
}

// `getForPromString` is what the clients render their histograms from: it makes no copy of the labels for every bucket.
const settled = async (metric: Metric): Promise<Answer> => {
  try {
    const value = await (metric.getForPromString === undefined ? metric.get() : metric.getForPromString())
    return { status: "fulfilled", value: metric.collect === undefined ? (value as Family) : copied(value as Family) }
  } catch (reason) {
    return { status: "rejected", reason }
  }
}

// The samples of a counter or a gauge are those that the client changes: the next reading would change what this one has
// found before it is written.
const copied = (family: Family): Family => {
  if (family.type !== "counter" && family.type !== "gauge") return family
  return { ...family, values: family.values.map((sample) => ({ ...sample })) }
}
