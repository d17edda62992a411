/**
 * Runs in progress on a gauge of the caller's, which other code may reset, set, or remove series from.
 *
 * What began before a reset or a removal left nothing there that its end could take back, so its end takes nothing back.
 * Neither client says when that happens: `reset`, `remove` and `set` of a gauge that is used here are wrapped, on the
 * gauge itself. One that cannot be wrapped, such as a gauge that is frozen or has `inc` and `dec` alone, is counted on
 * as it is.
 */
import { labelsOf, recordedAs } from "./cap.js"
import type { Parent } from "./gaugeChildren.js"
import { answers, parentOf } from "./gaugeChildren.js"
import type { Gauge, Labels, SomeLabels } from "./labels.js"
import { tracking } from "./metric.js"

/** A series of a gauge, until it is removed or the gauge is reset. */
interface Series {
  isGone: boolean
  /** How many runs are on it, and are to be taken off. */
  running: number
  /** How many runs are on it no more, because the series was set to less. */
  settled: number
  /** Whether others may record there by the same labels, now or later. */
  readonly isShared: boolean
}

type AllSeries = Map<string, Series>

type Method = (...args: ReadonlyArray<unknown>) => unknown

interface ClientGauge {
  readonly labelNames: ReadonlyArray<string>
  labels: Method
  reset: Method
  remove: Method
  set: Method
}

const gauges = new WeakMap<object, AllSeries>()

/** The gauge, or its child for the labels, for one run: its `dec` takes back what its `inc` has counted, if that is still there. */
export const heldOn = (metric: Gauge, labels: SomeLabels | undefined): (() => Gauge) => {
  const child = tracking(metric, labels)
  let held: Held | undefined
  return () => {
    if (held === undefined || held.isOver) {
      held = new Held(child(), labels === undefined ? undefined : { gauge: metric, labels: labels as Labels })
    }
    return held
  }
}

class Held implements Gauge {
  private series: Series | undefined

  constructor(
    private readonly gauge: Gauge,
    private readonly parent: Parent | undefined
  ) {}

  /** Whether the next run needs another one. */
  get isOver(): boolean {
    return this.series !== undefined && (this.series.isGone || this.series.isShared)
  }

  /** Returns what the gauge returns, which may be a promise. */
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
    // It is a stranger's, who may not have it looked at.
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

const isClientGauge = (metric: object): metric is ClientGauge => {
  const { labelNames, labels, remove, reset, set } = metric as Partial<ClientGauge>
  return Array.isArray(labelNames) && [labels, remove, reset, set].every((method) => typeof method === "function")
}

const keyOf = ({ labelNames }: ClientGauge, labels: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(labelNames.map((name) => String(labels[name] ?? "")))

const watched = (gauge: ClientGauge): AllSeries => {
  const known = gauges.get(gauge)
  if (known !== undefined) return known
  const all: AllSeries = new Map()
  after(gauge, "reset", () => {
    for (const key of all.keys()) forget(all, key)
  })
  after(gauge, "remove", (args) => forget(all, keyOf(gauge, labelsOf(gauge.labelNames, args) ?? {})))
  after(gauge, "set", ([first, second]) => {
    const [labels, value] = typeof first === "object" ? [first ?? {}, second] : [{}, first]
    const key = keyOf(gauge, labels as Labels)
    if (Number(value) <= 0) forget(all, key)
    else settle(all.get(key), Number(value))
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

// Of a value that was set, no more runs can be taken off than there are in it.
const settle = (series: Series | undefined, value: number): void => {
  if (series === undefined || !(value < series.running)) return
  const over = Math.ceil(series.running - value)
  series.running -= over
  series.settled += over
}

const after = (gauge: ClientGauge, name: "reset" | "remove" | "set", heard: (args: ReadonlyArray<unknown>) => void) => {
  const original = gauge[name]
  const wrapped = {
    [name](this: unknown, ...args: ReadonlyArray<unknown>): unknown {
      if (name === "set" && answers(gauge, args[0])) return undefined
      const result = Reflect.apply(original, this, args)
      heard(args)
      return result
    }
  }
  Object.defineProperty(gauge, name, { value: wrapped[name], configurable: true, writable: true })
}
