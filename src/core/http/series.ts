/** The series that requests are recorded on: each is looked up in its metric once, and found again by its labels. */
import type { HttpMetricName, HttpShape, HttpSource } from "./httpMetrics.js"
import type { Counter, Labels, Observer } from "./labels.js"
import { incrementing, observing } from "./metric.js"
import type { Reporter } from "./plan.js"
import { heed } from "./plan.js"

/** The metrics that have all the labels. */
export type Recorded = Exclude<HttpMetricName, "inProgress">

/** Returns what the metric returns. */
type Write = (value: number, exemplar: Labels | undefined) => unknown

interface Written {
  readonly metric: object
  readonly write: Write
}

/** The series of one label set, in each of the metrics that were written so far. */
export interface Series {
  readonly labels: Labels
  readonly written: Record<Recorded, Written | undefined>
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

// An application has fewer, but for a label that has no end.
const mostKept = 1_000

const writer = (name: Recorded, metric: object, labels: Labels): Write => {
  if (name !== "requests") {
    const observe = observing<undefined>(metric as Observer, labels)
    return (value, exemplar) => observe(value, undefined, exemplar)
  }
  const increment = incrementing<undefined>(metric as Counter, labels)
  return (_, exemplar) => increment(undefined, exemplar)
}

/** Writes to the metrics of a source, and keeps what it knows of their series for as long as they are the same ones. */
export class AllSeries {
  // They stand in a tree of their labels' values: to look one up puts no text together.
  private root = new Level()
  private count = 0

  constructor(
    private readonly source: HttpSource,
    private readonly shape: HttpShape,
    private readonly reporter: Reporter
  ) {}

  /** `further` are the values of the labels beside those, in the order of their names. */
  of(method: string, route: string, status: number, further: ReadonlyArray<string>): Series {
    let level = this.root.at(route).at(method).at(status)
    for (const value of further) level = level.at(value)
    level.series ??= this.made(method, route, String(status), further)
    return level.series
  }

  /** Writes to one of the metrics; one that fails is told of. */
  write(name: Recorded, { labels, written }: Series, value: number, exemplar: Labels | undefined): void {
    const operation = name === "requests" ? "inc" : "observe"
    let metric: object | undefined
    try {
      metric = this.source.metric(name)
      if (metric === undefined) return
      let known = written[name]
      if (known?.metric !== metric) {
        // It is there no more, and is not to be held by series that may never come again.
        if (known !== undefined) this.forget()
        known = { metric, write: writer(name, metric, labels) }
        written[name] = known
      }
      heed(known.write(value, exemplar), operation, metric, this.reporter)
    } catch (error) {
      this.reporter.failed(operation, metric ?? this.shape.families[name], error)
    }
  }

  private made(method: string, route: string, status: string, further: ReadonlyArray<string>): Series {
    if (this.count >= mostKept) this.forget()
    this.count += 1
    const { labelNames, names } = this.shape
    const own: Record<string, string> = { [names.method]: method, [names.route]: route, [names.status]: status }
    for (const [index, name] of labelNames.entries()) own[name] = further[index] ?? ""
    const written = { requests: undefined, duration: undefined, requestSize: undefined, responseSize: undefined }
    return { labels: own, written }
  }

  private forget(): void {
    this.root = new Level()
    this.count = 0
  }
}
