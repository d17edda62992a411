/** The contenders: the programs that can render the data of a shape as text. Each has its own registry. */
import { Effect } from "effect"
import { Exposition, Registry } from "effect-prometheus"
import * as promClient from "prom-client"
import { type Client, changing, growth, labelsOf, nameOf, promRegistry, type Shape } from "./registries.js"
import { type Measure, namesOf, timing } from "./rounds.js"

export interface Renderer {
  /** Changes the value of every series. */
  readonly change: () => void
  /** The argument of a server's `response.end`: bytes, or a text that is not encoded yet. */
  readonly render: () => Promise<Uint8Array | string>
}

export type Format = "text" | "openmetrics"

/** The library in normal use, on a registry of prom-client or of a compatible client. */
export const ours = (shape: Shape, format: Format = "text", client: Client = promClient): Renderer => {
  const { registry, change } = promRegistry(client, shape)
  return { change, render: rendering(registry, format) }
}

/** The library where it can use only public methods of a metric, because the metric has its own `get`. */
export const oursByGet = (shape: Shape): Renderer => {
  const { registry, change } = promRegistry(promClient, shape)
  for (const metric of registry.getMetricsAsArray() as ReadonlyArray<object>) {
    const { get } = Object.getPrototypeOf(metric) as { get(): unknown }
    Object.assign(metric, { get: () => get.call(metric) })
  }
  return { change, render: rendering(registry) }
}

/** The library's render of that registry. */
export const rendering = (registry: Registry.MetricRegistry, format: Format = "text"): (() => Promise<Uint8Array>) => {
  const accept = format === "openmetrics" ? "application/openmetrics-text; version=1.0.0" : "text/plain"
  const render = Exposition.render({ accept }).pipe(
    Effect.map(({ bytes }) => bytes),
    Effect.provideService(Registry.Registry, registry)
  )
  return () => Effect.runPromise(render)
}

/** The client's own render. */
export const clients = (shape: Shape, client: Client = promClient): Renderer => {
  const { registry, change } = promRegistry(client, shape)
  return { change, render: async () => flat(await registry.metrics()) }
}

/** The successor of prom-client, if this Node.js can load it. */
export const newerClient = async (): Promise<Client | undefined> => {
  try {
    return (await import("@prometheus-io/client")) as unknown as Client
  } catch {
    return undefined
  }
}

/** The OpenTelemetry SDK and its Prometheus exporter, as on a scrape. Counters only. */
export const openTelemetry = async (shape: Shape): Promise<Renderer> => {
  const { MeterProvider } = await import("@opentelemetry/sdk-metrics")
  const { PrometheusExporter, PrometheusSerializer } = await import("@opentelemetry/exporter-prometheus")
  const { families, series } = counterFamilies(shape)
  const reader = new PrometheusExporter({ preventServerStart: true })
  // Beyond this limit it records everything on one series.
  const views = [{ instrumentName: "*", aggregationCardinalityLimit: series + 1 }]
  const meter = new MeterProvider({ readers: [reader], views }).getMeter("benchmark")
  const labels = Array.from({ length: series }, (_, index) => labelsOf(index))
  const metrics = Array.from({ length: families }, (_, family) => {
    const { name, help } = nameOf("counter", family)
    return meter.createCounter(name, { description: help })
  })
  // Without its additional labels and family, so that it writes the same as the others.
  const serializer = new PrometheusSerializer(undefined, false, undefined, true, true)
  const { change } = changing(
    reader,
    metrics.map((metric, family) => (tick) => {
      for (const [index, attributes] of labels.entries()) metric.add(growth(index + family, tick), attributes)
    })
  )
  return {
    change,
    render: async () => flat(serializer.serialize((await reader.collect()).resourceMetrics))
  }
}

/** Effect 4, which formats its own metrics. Counters only. */
export const effect4 = async (shape: Shape): Promise<Renderer> => {
  const Context = await import("effect4/Context")
  const { runPromise, provide } = await import("effect4/Effect")
  const { MetricRegistry, counter, withAttributes } = await import("effect4/Metric")
  const { format } = await import("effect4/observability/PrometheusMetrics")
  const { families, series } = counterFamilies(shape)
  const context = Context.make(MetricRegistry, new Map())
  const { change } = changing(
    context,
    Array.from({ length: families }, (_, family) => {
      const { name, help } = nameOf("counter", family)
      const metric = counter(name, { description: help, incremental: true })
      const children = Array.from({ length: series }, (_, index) => withAttributes(metric, { ...labelsOf(index) }))
      return (tick: number) => {
        for (const [index, child] of children.entries()) child.updateUnsafe(growth(index + family, tick), context)
      }
    })
  )
  const render = provide(format(), context)
  return { change, render: async () => flat(await runPromise(render)) }
}

const counterFamilies = (shape: Shape) => {
  if (shape.counter === undefined || Object.keys(shape).length > 1) throw new TypeError("counters only")
  return shape.counter
}

/**
 * Makes the engine assemble a text that it stores as a concatenation, within the measured time: a server has to do that
 * before it sends the text. Reading one character is enough.
 */
export const flat = (text: string): string => {
  text.charCodeAt(0)
  return text
}

/**
 * Measurements of renders, each with changed values. First it checks that every contender writes the same number of
 * samples with the same sum, and that a change reaches every line (except with summaries, whose quantiles may stay).
 */
export const renders = async <K extends string>(
  renderers: { readonly [Name in K]: Renderer },
  { iterations, quantiles = false }: { readonly iterations: number; readonly quantiles?: boolean }
): Promise<{ readonly [Name in K]: Measure<number> }> => {
  const names = namesOf(renderers)
  let expected: string | undefined
  for (const name of names) {
    const { change, render } = renderers[name]
    const before = samples(textOf(await render()))
    change()
    const after = samples(textOf(await render()))
    if (!quantiles && after.lines.some((line, index) => line === before.lines[index]))
      throw new Error(`${name}: some lines have not changed`)
    const found = `${after.lines.length} samples of ${after.sum}`
    expected ??= found
    if (found !== expected) throw new Error(`${name} wrote ${found}, expected ${expected}`)
  }
  return Object.fromEntries(names.map((name) => [name, repeated(renderers[name], iterations)])) as {
    readonly [Name in K]: Measure<number>
  }
}

const repeated = ({ change, render }: Renderer, iterations: number): Measure<number> => {
  let last = ""
  let rendered: Uint8Array | string = ""
  const fn = async () => {
    rendered = await render()
  }
  const after = () => {
    // The values at the end change with every tick, and comparing the end costs little.
    const end = textOf(rendered.slice(-1_000))
    if (end.length < 1_000 || end === last) throw new Error("the render does not contain the changed values")
    last = end
  }
  return timing(fn, { iterations, async: true, before: change, after })
}

const decoder = new TextDecoder()

const textOf = (rendered: Uint8Array | string): string =>
  typeof rendered === "string" ? rendered : decoder.decode(rendered)

/** The lines that are samples, and the rounded sum of their values, for comparison. */
export const samples = (text: string): { readonly lines: ReadonlyArray<string>; readonly sum: string } => {
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
  const sum = lines.reduce((total, line) => total + Number(line.slice(line.lastIndexOf(" ") + 1)), 0)
  return { lines, sum: sum.toPrecision(10) }
}
