/**
 * The data: the same names, labels and values for every contender, and a way to change the value of every series at
 * once, so that no render can return the previous one.
 */
import type * as PromClient from "prom-client"

/** `prom-client`, or `@prometheus-io/client`, whose classes are equivalent. */
export type Client = typeof PromClient

/** The number of families of each type, and the number of series in each family. */
export type Shape = { readonly [Type in "counter" | "gauge" | "histogram" | "summary"]?: Families }
export interface Families {
  readonly families: number
  readonly series: number
}

/** One family of 5 methods x 2,000 routes x 10 statuses. */
export const counters: Shape = { counter: { families: 1, series: 100_000 } }

/** 98,000 lines. */
export const histograms: Shape = { histogram: { families: 1, series: 7_000 } }

/** An ordinary service: 1,000 series, 2,950 lines. */
export const ordinary: Shape = {
  counter: { families: 30, series: 15 },
  gauge: { families: 20, series: 20 },
  histogram: { families: 10, series: 15 }
}

export const ordinaryWithSummaries: Shape = { ...ordinary, summary: { families: 10, series: 1 } }

export const labelNames = ["method", "route", "status"] as const
export type Labels = Record<(typeof labelNames)[number], string>

const methods = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const
const statuses = ["200", "201", "204", "301", "304", "400", "404", "409", "500", "503"] as const
const resources = ["orders", "customers", "products", "invoices", "shipments", "payments", "carts", "reviews"] as const

/** The labels of a series, by its number in the family. */
export const labelsOf = (series: number): Labels => {
  const route = Math.floor(series / 50)
  return {
    method: methods[series % 5] ?? "",
    route: `/api/v1/${resources[route % 8]}/${Math.floor(route / 8)}/items`,
    status: statuses[Math.floor(series / 5) % 10] ?? ""
  }
}

/** The name and the help of a family, by its number among those of its type. */
export const nameOf = (type: keyof Shape, family: number): { readonly name: string; readonly help: string } => {
  const number = family === 0 ? "" : `_${family}`
  switch (type) {
    case "counter":
      return { name: `http_requests${number}_total`, help: "Requests that were answered, by method, route and status." }
    case "gauge":
      return { name: `http_load${number}_ratio`, help: "Load of the workers of a route." }
    case "histogram":
      return { name: `http_request_duration${number}_seconds`, help: "Time spent in requests, in seconds." }
    case "summary":
      return { name: `http_response_duration${number}_seconds`, help: "Time spent in responses, in seconds." }
  }
}

/** The increment of the counter of that series at that tick, always above 0. */
export const growth = (series: number, tick: number): number => 1 + ((series * 7_919 + tick * 31) % 97)

const load = (series: number, tick: number): number => ((series * 37 + tick * 11) % 10_000) / 10_000

// With nanoseconds, as clocks return them. The short duration is below every bound, and so changes every bucket.
const brief = (series: number, tick: number): number => (1_000_000 + ((series * 13 + tick * 7) % 3_989) * 1_000) / 1e9
const duration = (series: number, tick: number): number =>
  Math.round(1_000_000 * 1.37 ** ((series * 5 + tick * 3) % 29) + ((series * 31 + tick * 17) % 1_009)) / 1e9

/** A registry, and functions that change its values. */
export interface Changing<R> {
  readonly registry: R
  readonly change: () => void
  /** Changes one family; each call changes the next one. */
  readonly changeSome: () => void
}

type Change = (tick: number) => void

/** A registry of that client, after a few changes of its values. */
export const promRegistry = (client: Client, shape: Shape): Changing<PromClient.Registry> => {
  const registry = new client.Registry()
  const registers = [registry]
  const changes: Array<Change> = []

  const family = <Child>(
    type: keyof Shape,
    make: (options: { name: string; help: string; labelNames: Array<keyof Labels>; registers: typeof registers }) => {
      labels(labels: Labels): Child
    },
    change: (child: Child, series: number, tick: number) => void
  ): void => {
    const { families, series } = shape[type] ?? { families: 0, series: 0 }
    for (let number = 0; number < families; number++) {
      const metric = make({ ...nameOf(type, number), labelNames: [...labelNames], registers })
      const children = Array.from({ length: series }, (_, index) => metric.labels(labelsOf(index)))
      changes.push((tick) => {
        for (let index = 0; index < series; index++) change(children[index] as Child, index + number, tick)
      })
    }
  }

  family(
    "counter",
    (options) => new client.Counter(options),
    (child, series, tick) => child.inc(growth(series, tick))
  )
  family(
    "gauge",
    (options) => new client.Gauge(options),
    (child, series, tick) => child.set(load(series, tick))
  )
  family(
    "histogram",
    (options) => new client.Histogram(options),
    (child, series, tick) => {
      child.observe(brief(series, tick))
      child.observe(duration(series, tick))
    }
  )
  family(
    "summary",
    (options) => new client.Summary(options),
    (child, series, tick) => {
      // 200 values by the time of the first render.
      for (let count = tick < initialTicks ? 200 / initialTicks : 1; count > 0; count--)
        child.observe(duration(series + count, tick))
    }
  )
  return changing(registry, changes)
}

const initialTicks = 5

export const changing = <R>(registry: R, changes: ReadonlyArray<Change>): Changing<R> => {
  let tick = 0
  const change = () => {
    for (const each of changes) each(tick)
    tick++
  }
  while (tick < initialTicks) change()
  let turn = 0
  const changeSome = () => {
    changes[turn]?.(tick)
    turn = (turn + 1) % changes.length
    if (turn === 0) tick++
  }
  return { registry, change, changeSome }
}
