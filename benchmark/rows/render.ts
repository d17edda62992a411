/**
 * Renders of a whole registry as text, in one process: the time from the call to the argument of `response.end`, which is
 * bytes from our library and a flat string from the others. Between two renders the value of every series changes, outside
 * of the measured time. A figure is the mean of a few renders in a row.
 *
 * "ours" is the library in normal use. "ours by get()" is the library where each metric has its own `get`, so that it can
 * use only public methods of the metrics.
 */
import { clients, effect4, newerClient, openTelemetry, ours, oursByGet, type Renderer, renders } from "../contenders.js"
import type { Client } from "../registries.js"
import * as Data from "../registries.js"
import { type Comparison, compare, type Measured, type Row } from "../report.js"
import { alternate, type Rounds } from "../rounds.js"

const measured = (name: string, rounds: Rounds<number>): Measured => ({ name, unit: "ms", rounds })

/** 100,000 counters of one family, against all contenders that support them. */
export const counters: Row = {
  id: "counters",
  title: "100,000 counters of one family as text",
  run: async () => {
    const peers = await alternate(
      await renders(
        {
          ours: ours(Data.counters),
          byGet: oursByGet(Data.counters),
          promClient: clients(Data.counters),
          openTelemetry: await openTelemetry(Data.counters),
          effect4: await effect4(Data.counters)
        },
        { iterations: 2 }
      ),
      { rounds: 7, seldom: { openTelemetry: 2, effect4: 2 } }
    )
    const mine = measured("ours", peers.ours)
    const promClient = measured("prom-client", peers.promClient)
    const newer = await newerClient()
    return {
      comparisons: [
        compare(mine, promClient, { bar: { atLeast: 4.5 } }),
        compare(measured("ours by get()", peers.byGet), promClient, { bar: { atLeast: 3.3 } }),
        compare(mine, measured("OpenTelemetry", peers.openTelemetry), { bar: { atLeast: 9 } }),
        compare(mine, measured("Effect 4", peers.effect4), { bar: { atLeast: 6 } }),
        ...(newer ? await againstNewer(newer) : [])
      ],
      notes: newer ? [] : ["@prometheus-io/client is NOT MEASURED: it needs Node.js 22"]
    }
  }
}

// After the others, so that metrics of a second client do not make the compiled code for the first one more general.
const againstNewer = async (newer: Client): Promise<ReadonlyArray<Comparison>> => {
  const contenders = {
    ours: ours(Data.counters),
    oursOnNewer: ours(Data.counters, "text", newer),
    newer: clients(Data.counters, newer)
  }
  const times = await alternate(await renders(contenders, { iterations: 2 }), { rounds: 5 })
  const peer = measured("@prometheus-io/client", times.newer)
  return [
    compare(measured("ours", times.ours), peer),
    compare(measured("ours on @prometheus-io/client", times.oursOnNewer), peer)
  ]
}

interface Against {
  readonly id: string
  readonly title: string
  readonly shape: Data.Shape
  readonly fast: number
  /** Without it the row has no "ours by get()". */
  readonly byGet?: number
  readonly iterations: number
  readonly rounds: number
}

const againstPromClient = ({ id, title, shape, fast, byGet, iterations, rounds }: Against): Row => ({
  id,
  title,
  run: async () => {
    const contenders: Record<string, Renderer> = {
      ours: ours(shape),
      ...(byGet !== undefined && { "ours by get()": oursByGet(shape) }),
      "prom-client": clients(shape)
    }
    const measures = await renders(contenders, { iterations, quantiles: shape.summary !== undefined })
    const times = await alternate(measures, { rounds })
    const against = (mine: string, atLeast: number): Comparison =>
      compare(measured(mine, times[mine] ?? []), measured("prom-client", times["prom-client"] ?? []), {
        bar: { atLeast }
      })
    return {
      comparisons: [against("ours", fast), ...(byGet === undefined ? [] : [against("ours by get()", byGet)])]
    }
  }
})

export const histograms = againstPromClient({
  id: "histograms",
  title: "7,000 histograms of 14 lines each as text",
  shape: Data.histograms,
  fast: 7,
  byGet: 3.3,
  iterations: 2,
  rounds: 9
})

export const ordinary = againstPromClient({
  id: "ordinary",
  title: "1,000 mixed series in 60 families, as in an ordinary service, as text",
  shape: Data.ordinary,
  fast: 3.4,
  byGet: 2.6,
  iterations: 20,
  rounds: 25
})

export const ordinaryWithSummaries = againstPromClient({
  id: "ordinary-with-summaries",
  title: "the same with ten summaries among them",
  shape: Data.ordinaryWithSummaries,
  fast: 1.3,
  iterations: 20,
  rounds: 25
})

/** OpenMetrics against text, both from our library, with the same data. */
export const openmetrics: Row = {
  id: "openmetrics",
  title: "OpenMetrics against text, both from our library",
  run: async () => {
    const comparisons: Array<Comparison> = []
    for (const [what, shape, iterations, rounds] of [
      ["counters", Data.counters, 2, 9],
      ["histograms", Data.histograms, 2, 9],
      ["ordinary", Data.ordinary, 20, 25]
    ] as const) {
      const measures = await renders({ openmetrics: ours(shape, "openmetrics"), text: ours(shape) }, { iterations })
      const times = await alternate(measures, { rounds })
      comparisons.push(
        compare(measured("OpenMetrics", times.openmetrics), measured("text", times.text), {
          what,
          bar: { atMost: 1.15 }
        })
      )
    }
    return { comparisons }
  }
}
