/** The metrics of one request that several recorders have in common: the first of them records each metric. */
import { type HttpMetricName, type HttpSource, httpMetricNames } from "./metrics.js"

/** What records a request on all metrics of a source, or on a part of them. */
export interface Parts<A> {
  readonly whole: A
  /** For the metrics that no other source of the request provides. `undefined`: the others provide all of them. */
  readonly beside: (others: ReadonlyArray<HttpSource>) => A | undefined
}

/** `make` is called once for each part. `names` are the metrics of the source that it receives. */
export const partsOf = <A>(
  source: HttpSource,
  make: (source: HttpSource, names: ReadonlyArray<HttpMetricName>) => A
): Parts<A> => {
  const names = httpMetricNames.filter((name) => metricOf(source, name) !== undefined)
  const whole = make(source, names)
  const parts = new Map<string, A>()
  const beside: Parts<A>["beside"] = (others) => {
    if (others.length === 0) return whole
    const left = names.filter((name) => {
      const own = metricOf(source, name)
      return !others.some((other) => metricOf(other, name) === own)
    })
    if (left.length === names.length) return whole
    if (left.length === 0) return undefined
    const key = left.join()
    const known = parts.get(key)
    if (known !== undefined) return known
    const metric: HttpSource["metric"] = (name) => (left.includes(name) ? source.metric(name) : undefined)
    const part = make({ ...source, metric }, left)
    parts.set(key, part)
    return part
  }
  return { whole, beside }
}

const metricOf = (source: HttpSource, name: HttpMetricName): object | undefined => {
  try {
    return source.metric(name)
  } catch {
    // Recording on it reports the error.
    return undefined
  }
}

/** Which sizes of bodies are recorded. Others need not be counted. */
export interface ObservedSizes {
  readonly hasRequestSize: boolean
  readonly hasResponseSize: boolean
}

export const observedSizes = (names: ReadonlyArray<HttpMetricName>): ObservedSizes => ({
  hasRequestSize: names.includes("requestSize"),
  hasResponseSize: names.includes("responseSize")
})
