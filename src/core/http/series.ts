/** The series on which requests are recorded. Each is looked up in its metric once, and then found by its labels. */
import { gaugeOfRuns } from "../instrument/inProgress.js"
import { type Reporter, reportRejection } from "../instrument/instruments.js"
import type { Counter, Gauge, Labels, Observer } from "../instrument/labels.js"
import { incrementing, observing, tracking } from "../instrument/record.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import { type HttpEndValues, type HttpMetricName, type HttpShape, type HttpSource, httpEndLabels } from "./metrics.js"

/** The metrics that have all labels. */
export type Recorded = Exclude<HttpMetricName, "inProgress">

/** Returns what the metric returns. */
type Write = (value: number, exemplar: Labels | undefined) => unknown

/** The series of one label set, in each of the metrics that were written so far. */
export interface Series {
  readonly labels: Labels
  readonly written: Record<Recorded, { readonly metric: object; readonly write: Write } | undefined>
}

class Level {
  readonly next = new Map<string | number, Level>()
  series: Series | undefined

  at(value: string | number): Level {
    const known = this.next.get(value)
    if (known !== undefined) return known
    const made = new Level()
    this.next.set(value, made)
    return made
  }
}

// The limit of cached series. Most applications have fewer, unless a label has unlimited values.
const mostKept = 1_000

const writer = (name: Recorded, metric: object, labels: Labels): Write => {
  if (name !== "requests") {
    const observe = observing<undefined>(metric as Observer, labels)
    return (value, exemplar) => observe(value, undefined, exemplar)
  }
  const increment = incrementing<undefined>(metric as Counter, labels)
  return (_, exemplar) => increment(undefined, exemplar)
}

/** Writes to the metrics of a source, and caches their series as long as the metrics are the same. */
export class AllSeries {
  // A tree of the label values: a look-up builds no string.
  private root = new Level()
  private count = 0

  constructor(
    private readonly source: HttpSource,
    private readonly shape: HttpShape,
    private readonly reporter: Reporter
  ) {}

  /** `further` has the values of the additional labels, in the order of their names. */
  of(method: string, route: string, end: HttpEndValues, further: ReadonlyArray<string>): Series {
    let level = this.root.at(route).at(method)
    for (const key of httpEndLabels) level = level.at(end[key])
    for (const value of further) level = level.at(value)
    level.series ??= this.made(method, route, end, further)
    return level.series
  }

  /** A failure goes to the reporter. */
  write(name: Recorded, { labels, written }: Series, value: number, exemplar: Labels | undefined): void {
    const operation = name === "requests" ? "inc" : "observe"
    let metric: object | undefined
    try {
      metric = this.source.metric(name)
      if (metric === undefined) return
      let known = written[name]
      if (known?.metric !== metric) {
        // The metric was replaced. Cached series must not keep the old one in memory.
        if (known !== undefined) this.forget()
        known = { metric, write: writer(name, metric, labels) }
        written[name] = known
      }
      reportRejection(known.write(value, exemplar), operation, metric, this.reporter)
    } catch (error) {
      this.reporter.failed(operation, metric ?? this.shape.families[name], error)
    }
  }

  private made(method: string, route: string, end: HttpEndValues, further: ReadonlyArray<string>): Series {
    if (this.count >= mostKept) this.forget()
    this.count += 1
    const { labelNames, names } = this.shape
    const own: Record<string, string> = { [names.method]: method, [names.route]: route }
    for (const key of httpEndLabels) own[names[key]] = String(end[key])
    for (const [index, name] of labelNames.entries()) own[name] = further[index] ?? ""
    const written = { requests: undefined, duration: undefined, requestSize: undefined, responseSize: undefined }
    return { labels: own, written }
  }

  private forget(): void {
    this.root = new Level()
    this.count = 0
  }
}

/** The requests of one method in progress on one gauge, from all recorders of that gauge. */
export interface MethodInProgress {
  readonly metric: object
  readonly gauge: Gauge & { readonly set?: (value: number) => void }
  running: number
  /** The gauge on which a request that begins now is counted. */
  readonly current: () => Gauge
}

type Methods = Map<string, MethodInProgress>

const all = oncePerProcess("methods in progress", () => new WeakMap<object, Methods>())

/** Failures go to the reporter. */
export class InProgress {
  private metric: object | undefined
  private methods: Methods | undefined

  constructor(
    private readonly source: HttpSource,
    private readonly shape: HttpShape,
    private readonly reporter: Reporter
  ) {}

  /** Counts a start. Pass the result to `end`; it is undefined if the start failed or there is no gauge. */
  start(method: string): MethodInProgress | undefined {
    let metric: object | undefined
    try {
      metric = this.source.metric("inProgress")
      if (metric === undefined) return undefined
      const held = this.held(metric, method)
      // A start that fails is not counted, so it needs no end.
      this.write(held, held.running + 1, 1)
      held.running += 1
      return held
    } catch (error) {
      this.reporter.failed("inc", metric ?? this.shape.families.inProgress, error)
      return undefined
    }
  }

  end(held: MethodInProgress): void {
    // Even if the write fails: the next write sets the current number.
    held.running -= 1
    try {
      this.write(held, held.running, -1)
    } catch (error) {
      this.reporter.failed("dec", held.metric, error)
    }
  }

  private write({ gauge, metric }: MethodInProgress, running: number, by: 1 | -1): void {
    if (this.source.ownsGauge && gauge.set !== undefined) gauge.set(running)
    else if (by === 1) reportRejection(gauge.inc(), "inc", metric, this.reporter)
    else reportRejection(gauge.dec(), "dec", metric, this.reporter)
  }

  private held(metric: object, method: string): MethodInProgress {
    if (this.methods === undefined || this.metric !== metric) this.methods = getOrInsert(all, metric, () => new Map())
    this.metric = metric
    const known = this.methods.get(method)
    const current = known?.current ?? this.gaugeOf(metric, { [this.shape.names.method]: method })
    const gauge = current()
    // The gauge differs if the caller's gauge was reset.
    if (known?.gauge === gauge) return known
    const made = { metric, gauge, current, running: 0 }
    this.methods.set(method, made)
    return made
  }

  private gaugeOf(metric: object, labels: Labels): () => Gauge {
    return (this.source.ownsGauge ? tracking : gaugeOfRuns)(metric as Gauge, labels)
  }
}
