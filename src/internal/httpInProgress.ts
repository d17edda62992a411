/** How many requests are in progress, by a gauge and its label for the method. */
import type { HttpShape, HttpSource } from "./httpMetrics.js"
import { heldOn } from "./inProgress.js"
import type { Gauge, Labels } from "./labels.js"
import { tracking } from "./metric.js"
import type { Reporter } from "./plan.js"
import { heed } from "./plan.js"

/** The requests of one method that are in progress on one gauge, whoever counts them. */
export interface Held {
  readonly metric: object
  readonly gauge: Gauge & { readonly set?: (value: number) => void }
  running: number
  /** The gauge, as a request that begins now counts on it. */
  readonly current: () => Gauge
}

type Methods = Map<string, Held>

const all = new WeakMap<object, Methods>()

const methodsOf = (metric: object): Methods => {
  const known = all.get(metric) ?? new Map()
  all.set(metric, known)
  return known
}

/** Counts starts and ends. What fails is told of. */
export class InProgress {
  private metric: object | undefined
  private methods: Methods | undefined

  constructor(
    private readonly source: HttpSource,
    private readonly shape: HttpShape,
    private readonly reporter: Reporter
  ) {}

  /** Counts a start. What it gives back is to be ended: nothing where that failed, or there is no gauge. */
  start(method: string): Held | undefined {
    let metric: object | undefined
    try {
      metric = this.source.metric("inProgress")
      if (metric === undefined) return undefined
      const held = this.held(metric, method)
      // One that fails is not counted, and so need not be taken back.
      this.write(held, held.running + 1, 1)
      held.running += 1
      return held
    } catch (error) {
      this.reporter.failed("inc", metric ?? this.shape.families.inProgress, error)
      return undefined
    }
  }

  end(held: Held): void {
    // Whether or not that can be written: the next one writes how many there are.
    held.running -= 1
    try {
      this.write(held, held.running, -1)
    } catch (error) {
      this.reporter.failed("dec", held.metric, error)
    }
  }

  private write({ gauge, metric }: Held, running: number, by: 1 | -1): void {
    if (this.source.ownsGauge && gauge.set !== undefined) gauge.set(running)
    else if (by === 1) heed(gauge.inc(), "inc", metric, this.reporter)
    else heed(gauge.dec(), "dec", metric, this.reporter)
  }

  private held(metric: object, method: string): Held {
    if (this.methods === undefined || this.metric !== metric) this.methods = methodsOf(metric)
    this.metric = metric
    const known = this.methods.get(method)
    const current = known?.current ?? this.gaugeOf(metric, { [this.shape.names.method]: method })
    const gauge = current()
    // It is another one where the caller's was reset.
    if (known?.gauge === gauge) return known
    const made = { metric, gauge, current, running: 0 }
    this.methods.set(method, made)
    return made
  }

  private gaugeOf(metric: object, labels: Labels): () => Gauge {
    return (this.source.ownsGauge ? tracking : heldOn)(metric as Gauge, labels)
  }
}
