/** The application's client: its global registry, and its metrics. */
import type { Registry as ClientRegistry } from "./clientTypes.js"
import { noticeCopy } from "./copies.js"
import { knownGauges } from "./gauges.js"
import installed from "./installed.cjs"

const { Counter, Gauge, Histogram, Registry, Summary } = installed.client

export const defaultRegistry: ClientRegistry = installed.client.register

export const { hasBothClients } = installed

/** 1, or more for the global registry of a further copy of a client in this process. */
export const registryPosition = noticeCopy(installed.name, defaultRegistry)

export const newRegistry = (): ClientRegistry => new Registry()

type Class = new (configuration: object) => NewMetric

const classes = { Counter, Gauge, Histogram, Summary } as unknown as Readonly<
  Record<"Counter" | "Gauge" | "Histogram" | "Summary", Class>
>

knownGauges(Gauge)

/** What sets the value of a counter or a gauge when it is read. */
export interface CollectedMetric {
  inc(labels: object, by: number): void
  set(labels: object, value: number): void
  reset(): void
  remove(labels: object): void
}

/** Called when the counter or the gauge is read. */
export type Collect = (this: CollectedMetric) => void | Promise<void>

/** For an undefined property, the metric gets the client's default. */
export interface MetricConfiguration {
  readonly type: "counter" | "gauge" | "histogram" | "summary"
  readonly name: string
  readonly help: string
  readonly labelNames: ReadonlyArray<string>
  /** The upper bounds of a histogram, with or without the infinite one. */
  readonly buckets?: ReadonlyArray<number> | undefined
  /** For a counter or a histogram. */
  readonly enableExemplars?: boolean | undefined
  /** For a summary. */
  readonly percentiles?: ReadonlyArray<number> | undefined
  readonly maxAgeSeconds?: number | undefined
  readonly ageBuckets?: number | undefined
  /** How the client's cluster module combines the values of several processes. Default: the sum. */
  readonly aggregator?: "sum" | "average" | "min" | "max" | "first" | "omit" | undefined
}

/** Its other methods depend on its type. */
export interface NewMetric {
  readonly name: string
}

/** On no registry. `collect` is only for a counter or a gauge. */
export const newMetric = (metric: MetricConfiguration, collect?: Collect): NewMetric => {
  const {
    ageBuckets = 5,
    aggregator,
    buckets,
    enableExemplars = false,
    help,
    labelNames,
    maxAgeSeconds,
    name,
    percentiles
  } = metric
  // The client keeps the lists, and freezes one of them.
  const common = { name, help, labelNames: [...labelNames], registers: [], ...(aggregator && { aggregator }) }
  const read = { ...common, ...(collect && { collect }) }
  return {
    counter: () => new classes.Counter({ ...read, enableExemplars }),
    gauge: () => new classes.Gauge(read),
    histogram: () => new classes.Histogram({ ...common, enableExemplars, ...(buckets && { buckets: [...buckets] }) }),
    summary: () =>
      new classes.Summary({
        ...common,
        ...(percentiles && { percentiles: [...percentiles] }),
        ...(maxAgeSeconds !== undefined && { maxAgeSeconds, ageBuckets })
      })
  }[metric.type]()
}
