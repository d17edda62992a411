/**
 * The values of metrics that are asked for them, and may take their time or never answer.
 *
 * One reading of a metric serves all renders that need it before it is over, whatever their formats, families, limits and
 * registries. Two at the same time could spoil each other: a `collect` that resets its metric, waits and sets it again
 * would count twice what it finds. What has been read before a render was asked for is never used for it.
 */
import type { FamilyInfo } from "./encoder.js"
import type { SharingSample } from "./histogramSamples.js"
import type { Metric } from "./store.js"
import { nextTurn } from "./timer.js"

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

/** What a metric has answered. */
export type Answer = PromiseSettledResult<Family>

interface Reading {
  /** When it began, as of `moment`. */
  readonly began: number
  answer: Answer | undefined
  /** Renders that wait for it, and may cease to: a promise keeps what it calls for as long as it is pending. */
  readonly waiting: Set<() => void>
}

// Those that are not over, or have been in this turn of the event loop: renders that are asked for together work one after
// the other. A metric that does not answer stays here when no render waits for it any more, and is not asked again until it
// does: one that hangs would otherwise hang once more with each scrape.
const running = new WeakMap<object, Reading>()

// Counts what happens here.
let moment = 0

// A metric that needs no time has answered after so many microtasks.
const atOnce = 8

/** The readings of one render. */
export class Readings {
  private readonly asked = new Map<Metric, Reading>()
  private readonly since: number

  /** `onAnswer` is called when a metric has answered that was asked before. */
  constructor(private readonly onAnswer: () => void) {
    moment += 1
    this.since = moment
  }

  /** Asks the metric, without waiting for its answer. */
  begin(metric: Metric): void {
    if (this.asked.has(metric)) return
    const last = running.get(metric)
    const reading = last && (last.answer === undefined || last.began > this.since) ? last : begun(metric)
    this.asked.set(metric, reading)
    if (reading.answer === undefined) reading.waiting.add(this.onAnswer)
  }

  /** The answer of a metric, as far as it is there at once. */
  async of(metric: Metric): Promise<Answer | undefined> {
    this.begin(metric)
    const reading = this.asked.get(metric) as Reading
    for (let step = 0; step < atOnce && reading.answer === undefined; step += 1) await undefined
    return reading.answer
  }

  /** The answer of a metric that has been asked, if it is there. */
  answerOf(metric: object): Answer | undefined {
    return this.asked.get(metric as Metric)?.answer
  }

  /** Whether the metric has been asked. */
  hasAsked(metric: object): boolean {
    return this.asked.has(metric as Metric)
  }

  /** Whether the metric has been asked and has not answered. */
  isPending(metric: object): boolean {
    const reading = this.asked.get(metric as Metric)
    return reading !== undefined && reading.answer === undefined
  }

  /** The reading of a metric that has failed, which may have served other renders as well. */
  failed(metric: object): object | undefined {
    const reading = this.asked.get(metric as Metric)
    return reading?.answer?.status === "rejected" ? reading : undefined
  }

  /** The render is over. */
  end(): void {
    for (const { waiting } of this.asked.values()) waiting.delete(this.onAnswer)
    this.asked.clear()
  }
}

const begun = (metric: Metric): Reading => {
  moment += 1
  const reading: Reading = { began: moment, answer: undefined, waiting: new Set() }
  running.set(metric, reading)
  void settled(metric).then((answer) => {
    reading.answer = answer
    forget(metric)
    for (const onAnswer of reading.waiting) onAnswer()
    reading.waiting.clear()
  })
  return reading
}

let over: Array<Metric> = []

const forget = (metric: Metric): void => {
  over.push(metric)
  if (over.length > 1) return
  void nextTurn().then(() => {
    for (const each of over) if (running.get(each)?.answer !== undefined) running.delete(each)
    over = []
  })
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
