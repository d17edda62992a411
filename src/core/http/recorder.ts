/** Records HTTP requests. Each side has its own clock, routes, statuses, registry, and reports of failed metrics. */
import type { Reporter } from "../instrument/instruments.js"
import type { Labels } from "../instrument/labels.js"
import { firstFamily, type HttpArrival, type HttpShape, type HttpSource, perSecond, type UrlScheme } from "./metrics.js"
import { AllSeries, InProgress, type MethodInProgress } from "./series.js"

// The methods in OpenTelemetry's semantic conventions: those of RFC 9110, PATCH (RFC 5789) and QUERY.
const methods: ReadonlySet<string> = new Set("GET HEAD POST PUT PATCH DELETE OPTIONS CONNECT TRACE QUERY".split(" "))

export interface HttpEnd {
  /** The pattern of its route. Default: it matched none. */
  readonly route?: string | undefined
  /** The status code that was sent, or 499 if the client disconnected before the complete response was sent. */
  readonly status: number
  /** Since the arrival of the request. Default: not observed. */
  readonly seconds?: number | undefined
  readonly requestBytes?: number | undefined
  readonly responseBytes?: number | undefined
  /** The values of the additional labels. A label without a value gets the empty text. */
  readonly labels?: Labels | undefined
  /** The exemplar of the request count and the duration. */
  readonly exemplar?: Labels | undefined
}

/** Records requests, and never throws. */
export interface HttpRecorder {
  /** Whether the URL scheme of requests is recorded. If not, it need not be read. */
  readonly hasUrlScheme: boolean
  /** The method as a label value. A client can invent methods, and each would create a series. */
  methodLabel(method: string): string
  /** Counts a request in progress. Pass the result to `ended`. */
  begun(arrival: HttpArrival): MethodInProgress | undefined
  ended(held: MethodInProgress): void
  /** Records a request that has ended. */
  record(arrival: HttpArrival, how: HttpEnd): void
  /** Reports an error in the caller's decisions about a request, as a failure of the first metric of requests. */
  failed(error: unknown): void
}

/** A request. Each side extends it by what it knows of a request, so that a request has one object. */
export class HttpRun implements HttpArrival {
  readonly method: string
  private readonly held: MethodInProgress | undefined
  private isRecorded = false

  constructor(
    protected readonly recorder: HttpRecorder,
    method: string,
    /** `http` if it is not recorded. */
    readonly scheme: UrlScheme
  ) {
    this.method = recorder.methodLabel(method)
    this.held = recorder.begun(this)
  }

  /** Records it, unless it has ended already. */
  protected end(how: HttpEnd): void {
    if (this.stop()) this.recorder.record(this, how)
  }

  /** Ends the request without recording it, unless it has ended already. */
  leaveOut(): void {
    this.stop()
  }

  private stop(): boolean {
    if (this.isRecorded) return false
    this.isRecorded = true
    if (this.held !== undefined) this.recorder.ended(this.held)
    return true
  }
}

/** What the caller's code decides about a request. If it throws, the error is reported and the result is `otherwise`. */
export const decided = <A>(recorder: HttpRecorder, decide: () => A, otherwise: A): A => {
  try {
    return decide()
  } catch (error) {
    recorder.failed(error)
    return otherwise
  }
}

export const httpRecorder = (source: HttpSource, shape: HttpShape, reporter: Reporter): HttpRecorder =>
  new Recorder(source, shape, reporter)

class Recorder implements HttpRecorder {
  readonly hasUrlScheme: boolean
  private readonly all: AllSeries
  private readonly inProgress: InProgress
  private readonly labelNames: ReadonlyArray<string>
  private readonly perSecond: number
  private readonly otherMethod: string
  private readonly unmatched: string
  // An object per recorder: errors in one caller's decisions are reported independently of other callers.
  private readonly asked: object

  constructor(
    source: HttpSource,
    shape: HttpShape,
    private readonly reporter: Reporter
  ) {
    this.all = new AllSeries(source, shape, reporter)
    this.inProgress = new InProgress(source, shape, reporter)
    this.labelNames = shape.labelNames
    this.perSecond = perSecond[shape.unit]
    const { naming } = shape
    this.hasUrlScheme = Object.hasOwn(naming.scheme.arrival, "scheme")
    this.otherMethod = naming.scheme.otherMethod
    this.unmatched = naming.scheme.unmatched
    this.asked = { ...firstFamily(shape) }
  }

  methodLabel(method: string): string {
    return methods.has(method) ? method : this.otherMethod
  }

  begun(arrival: HttpArrival): MethodInProgress | undefined {
    return this.inProgress.start(arrival)
  }

  ended(held: MethodInProgress): void {
    this.inProgress.end(held)
  }

  failed(error: unknown): void {
    this.reporter.failed("inc", this.asked, error)
  }

  record({ method, scheme }: HttpArrival, how: HttpEnd): void {
    const { all } = this
    const { exemplar, labels, requestBytes, responseBytes, route, seconds, status } = how
    const further = this.labelNames.length === 0 ? none : this.textsOf(labels)
    const series = all.of({ method, scheme, route: route || this.unmatched, status }, further)
    all.write("requests", series, 1, exemplar)
    if (seconds !== undefined) all.write("duration", series, seconds * this.perSecond, exemplar)
    if (requestBytes !== undefined) all.write("requestSize", series, requestBytes, undefined)
    if (responseBytes !== undefined) all.write("responseSize", series, responseBytes, undefined)
  }

  // In the order of the label names.
  private textsOf(labels: Labels | undefined): ReadonlyArray<string> {
    const { labelNames } = this
    try {
      const unknown = labels && Object.keys(labels).find((name) => !labelNames.includes(name))
      if (unknown !== undefined) this.failed(new RangeError(`the label ${unknown} is not in labelNames`))
      return labelNames.map((name) => String(labels?.[name] ?? ""))
    } catch (error) {
      this.failed(error)
      return labelNames.map(() => "")
    }
  }
}

const none: ReadonlyArray<string> = []
