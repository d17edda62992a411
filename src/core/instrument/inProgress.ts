/**
 * Counts runs on a gauge that other code may reset, set, or remove series from. This also removes the runs that began
 * before it: their end does not decrement the gauge. A gauge that cannot be watched is decremented at each end.
 */
import { type ClientGauge, isClientGauge, type Parent, parentOf, recordedAs, watchGauge } from "../client/gauges.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { Gauge, Labels, SomeLabels } from "./labels.js"
import { tracking } from "./record.js"

/** A series of a gauge, until it is removed or the gauge is reset. */
interface Series {
  isGone: boolean
  /** How many runs the series counts and will be decremented for. */
  running: number
  /** How many runs the series no longer counts, because it was set to a lower value. */
  settled: number
  /** Whether it is the overflow series. The next run with the same labels may then record on another series. */
  readonly isShared: boolean
}

type AllSeries = Map<string, Series>

const gauges = oncePerProcess("gauges of runs", () => new WeakMap<object, AllSeries>())

/** Its `dec` undoes its `inc`, if the series still counts the run. */
export const gaugeOfRuns = (metric: Gauge, labels: SomeLabels | undefined): (() => Gauge) => {
  const child = tracking(metric, labels)
  let held: RunGauge | undefined
  return () => {
    if (held === undefined || held.isOver) {
      held = new RunGauge(child(), labels === undefined ? undefined : { gauge: metric, labels: labels as Labels })
    }
    return held
  }
}

class RunGauge implements Gauge {
  private series: Series | undefined

  constructor(
    private readonly gauge: Gauge,
    private readonly parent: Parent | undefined
  ) {}

  /** Whether the next run needs a new object. */
  get isOver(): boolean {
    return this.series !== undefined && (this.series.isGone || this.series.isShared)
  }

  /** May return a promise, as the gauge does. */
  inc(): unknown {
    const result: unknown = this.gauge.inc()
    this.series ??= seriesOf(this.gauge, this.parent)
    this.series.running += 1
    return result
  }

  dec(): unknown {
    const series = this.series as Series
    if (series.isGone) return undefined
    if (series.settled > 0) {
      series.settled -= 1
      return undefined
    }
    series.running -= 1
    return this.gauge.dec()
  }
}

const seriesOf = (target: Gauge, parent: Parent | undefined): Series => {
  try {
    const { gauge, labels } = parent ?? parentOf(target) ?? { gauge: target, labels: {} }
    if (isClientGauge(gauge)) {
      const recorded = recordedAs(gauge, labels)
      return found(watched(gauge), keyOf(gauge, recorded), recorded !== labels)
    }
  } catch {
    // The properties of an object that is not made by a client may throw.
  }
  return begun(false)
}

const begun = (isShared: boolean): Series => ({ isGone: false, running: 0, settled: 0, isShared })

const found = (all: AllSeries, key: string, isShared: boolean): Series => {
  const known = all.get(key)
  if (known !== undefined) return known
  const series = begun(isShared)
  all.set(key, series)
  return series
}

const keyOf = ({ labelNames }: ClientGauge, labels: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(labelNames.map((name) => String(labels[name] ?? "")))

const watched = (gauge: ClientGauge): AllSeries => {
  const known = gauges.get(gauge)
  if (known !== undefined) return known
  const all: AllSeries = new Map()
  watchGauge(gauge, {
    onReset: () => {
      for (const key of all.keys()) forget(all, key)
    },
    onRemove: (labels) => forget(all, keyOf(gauge, labels)),
    onSet: (labels, value) => {
      const key = keyOf(gauge, labels)
      if (value <= 0) forget(all, key)
      else settle(all.get(key), value)
    }
  })
  gauges.set(gauge, all)
  return all
}

const forget = (all: AllSeries, key: string): void => {
  const series = all.get(key)
  if (series === undefined) return
  series.isGone = true
  all.delete(key)
}

// After a gauge is set, the number of runs that it is decremented for is at most its value.
const settle = (series: Series | undefined, value: number): void => {
  if (series === undefined || !(value < series.running)) return
  const over = Math.ceil(series.running - value)
  series.running -= over
  series.settled += over
}
