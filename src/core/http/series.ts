/** The series on which requests are recorded. Each is looked up in its metric once, and then found by its labels. */
import { type DirectMetric, directMetric, keyOf } from "../client/directMetric.js"
import { gaugeOfRuns } from "../instrument/inProgress.js"
import { type Reporter, reportRejection } from "../instrument/instruments.js"
import type { Counter, Gauge, Labels, Observer } from "../instrument/labels.js"
import { LabelTree } from "../instrument/labelTree.js"
import { incrementing, observing, setting, tracking } from "../instrument/record.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import {
  type HttpArrival,
  type HttpFacts,
  type HttpMetricName,
  type HttpShape,
  type HttpSource,
  httpLabelNames,
  labelsOf,
  type UrlScheme
} from "./metrics.js"

/** The metrics that have all labels. */
export type Recorded = Exclude<HttpMetricName, "inProgress">

/** The series of one label set, in all metrics. */
export interface Series {
  readonly labels: Labels
  /** Of a metric whose series can be recorded directly. */
  readonly key: string
  /** For other metrics: how to record on its series. */
  written: Partial<Record<Recorded, Writer>> | undefined
}

interface Writer {
  readonly metric: object
  readonly write: Write
}

/** Returns what the metric returns. */
type Write = (value: number, exemplar: Labels | undefined) => unknown

const writer = (name: Recorded, metric: object, labels: Labels): Write => {
  if (name !== "requests") {
    const observe = observing<undefined>(metric as Observer, labels)
    return (value, exemplar) => observe(value, undefined, exemplar)
  }
  const increment = incrementing<undefined>(metric as Counter, labels)
  return (_, exemplar) => increment(undefined, exemplar)
}

/** A metric, as it was when it was last written. */
interface Known {
  readonly metric: object
  readonly direct: DirectMetric | undefined
}

// Of method, route, status and additional labels.
const mostRoutes = 15_000

/** Writes to the metrics of a source, and caches their series as long as the metrics are the same. */
export class AllSeries {
  private readonly all = new LabelTree<Series>(mostRoutes)
  private readonly known: Partial<Record<Recorded, Known>> = {}
  private readonly sortedNames: ReadonlyArray<string>

  constructor(
    private readonly source: HttpSource,
    private readonly shape: HttpShape,
    private readonly reporter: Reporter
  ) {
    this.sortedNames = [...httpLabelNames(shape.naming), ...shape.labelNames].sort()
  }

  /** `further` has the values of the additional labels, in the order of their names. */
  of(facts: HttpFacts, further: ReadonlyArray<string>): Series {
    const values = this.shape.naming.scheme.distinct(facts)
    for (const value of further) values.push(value)
    return this.all.get(values) ?? this.made(values, facts, further)
  }

  /** A failure goes to the reporter. */
  write(name: Recorded, series: Series, value: number, exemplar: Labels | undefined): void {
    const operation = name === "requests" ? "inc" : "observe"
    let metric: object | undefined
    try {
      metric = this.source.metric(name)
      if (metric === undefined) return
      const known = this.known[name]
      const direct = known?.metric === metric ? known.direct : this.knows(name, metric)
      let result: unknown
      if (direct === undefined) result = this.writerOf(name, metric, series)(value, exemplar)
      else if (name === "requests") result = direct.inc(series.key, series.labels)
      else result = direct.observe(series.key, series.labels, value)
      reportRejection(result, operation, metric, this.reporter)
    } catch (error) {
      this.reporter.failed(operation, metric ?? this.shape.families[name], error)
    }
  }

  private knows(name: Recorded, metric: object): DirectMetric | undefined {
    // The metric was replaced. Cached series must not keep the old one in memory.
    if (this.known[name] !== undefined) this.all.clear()
    const found = directMetric(metric)
    const direct = found?.hasNames(this.sortedNames) === true ? found : undefined
    this.known[name] = { metric, direct }
    return direct
  }

  private writerOf(name: Recorded, metric: object, series: Series): Write {
    series.written ??= {}
    const known = series.written[name]
    if (known?.metric === metric) return known.write
    const write = writer(name, metric, series.labels)
    series.written[name] = { metric, write }
    return write
  }

  private made(values: ReadonlyArray<string | number>, facts: HttpFacts, further: ReadonlyArray<string>): Series {
    const { labelNames, naming } = this.shape
    const labels = { ...labelsOf(naming.arrival, facts), ...labelsOf(naming.end, facts) }
    for (const [index, name] of labelNames.entries()) labels[name] = further[index] ?? ""
    const series: Series = { labels, key: keyOf(this.sortedNames, labels), written: undefined }
    this.all.set(values, series)
    return series
  }
}

/** The requests of one method and URL scheme in progress on one gauge, from all recorders of that gauge. */
export interface MethodInProgress {
  readonly metric: object
  readonly gauge: Gauge
  running: number
  /** The gauge on which a request that begins now is counted. */
  readonly current: () => Gauge
  /** Undefined for a gauge that cannot be set, or that the application may change as well. */
  readonly set: ((value: number) => unknown) | undefined
}

type Methods = Readonly<Record<UrlScheme, Map<string, MethodInProgress>>>

const newMethods = (): Methods => ({ http: new Map(), https: new Map() })

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
  start(arrival: HttpArrival): MethodInProgress | undefined {
    let metric: object | undefined
    try {
      metric = this.source.metric("inProgress")
      if (metric === undefined) return undefined
      const held = this.held(metric, arrival)
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

  private write({ gauge, metric, set }: MethodInProgress, running: number, by: 1 | -1): void {
    const operation = by === 1 ? "inc" : "dec"
    const result: unknown = set === undefined ? gauge[operation]() : set(running)
    reportRejection(result, operation, metric, this.reporter)
  }

  private held(metric: object, arrival: HttpArrival): MethodInProgress {
    if (this.methods === undefined || this.metric !== metric) this.methods = getOrInsert(all, metric, newMethods)
    this.metric = metric
    const methods = this.methods[arrival.scheme]
    const known = methods.get(arrival.method)
    // The gauge differs if the caller's gauge was reset.
    if (known !== undefined && (known.set !== undefined || known.current() === known.gauge)) return known
    const { current, set } = known ?? this.gaugeOf(metric, labelsOf(this.shape.naming.arrival, arrival))
    const made = { metric, gauge: current(), current, set, running: 0 }
    methods.set(arrival.method, made)
    return made
  }

  private gaugeOf(metric: object, labels: Labels): Pick<MethodInProgress, "current" | "set"> {
    if (!this.source.ownsGauge) return { current: gaugeOfRuns(metric as Gauge, labels), set: undefined }
    return { current: tracking(metric as Gauge, labels), set: setting(metric as Gauge, labels) }
  }
}
