/**
 * Families that come from somewhere else than the registry, and are exposed with its metrics for as long as their source
 * is open. The registry itself knows nothing of them.
 *
 * What is on the registry comes first, and what is added here: a family that would clash with either is left out, and so is
 * one that would clash with a family before it. What is left out is told.
 */
import type { Sample } from "./encoder.js"
import type { CumulativeSeries } from "./histogram.js"
import { decide, Families } from "./nameConflicts.js"
import { ageMetric } from "./selfMetrics.js"

/** A family of a source. It is the same object for each exposition: what is kept of its series is kept with it. */
export interface SourceFamily {
  readonly name: string
  readonly help: string
  readonly type: "counter" | "gauge" | "histogram" | "summary"
  /** As a sentence begins with it: whose family it is. */
  readonly subject: string
  /** Of a histogram whose series all have the same. Without the one up to infinity, in increasing order. */
  readonly upperBounds?: ReadonlyArray<number> | undefined
  /** What it holds now, read piece by piece. */
  samples(size: number): Iterable<ReadonlyArray<Sample>>
  /** The same of a histogram that has `upperBounds`. */
  series?(size: number): Iterable<ReadonlyArray<CumulativeSeries>>
}

/** Where families come from. */
export interface Source {
  /** What it offers from now on. */
  readonly current: Offer
}

/** The families of a source. */
export interface Offer {
  /** Takes in what is new, and can be left to go on later after each step. */
  refresh(): Iterable<void>
  /** In the order in which they came. */
  families(): Iterable<SourceFamily>
  /** What it leaves out itself, as sentences. */
  leftOut(): Iterable<string>
}

/** What is on the registry, by name. */
interface Registered {
  readonly name: string
  readonly type: unknown
}

/** What is exposed for a registry: metrics of its own, and the families of its sources. */
export interface Sourced<Metric> {
  readonly metrics: ReadonlyArray<Metric>
  readonly families: ReadonlyArray<SourceFamily>
  /** What is left out, as sentences. */
  readonly leftOut: ReadonlyArray<string>
  /** The names of both. */
  readonly names: Families
}

const sources = new WeakMap<object, Set<Source>>()

/** Opens a source for that registry. */
export const openSource = (registry: object, source: Source): void => {
  const open = sources.get(registry) ?? new Set()
  sources.set(registry, open.add(source))
}

/** Closes it: the expositions that begin from now on are without its families. */
export const closeSource = (registry: object, source: Source): void => {
  const open = sources.get(registry)
  open?.delete(source)
  if (open?.size === 0) sources.delete(registry)
}

/** How long names are compared before whoever reads them can give way. */
const pieceSize = 256

/**
 * The metrics of the registry that are exposed, and the families that are exposed beside them. It is done when it comes to
 * its end.
 */
export function* sourced<Metric extends Registered>(
  registry: object,
  registered: ReadonlyArray<Metric>
): Generator<void, Sourced<Metric>> {
  const count = countOf(registry)
  const { families: own, isExposed, leftOut: clashing } = yield* decide(registry, registered, [count, age])
  const metrics = clashing.length === 0 ? registered : registered.filter((_, at) => isExposed[at])
  const offers = [...(sources.get(registry) ?? [])].map(({ current }) => current)
  if (offers.length + clashing.length === 0) return { metrics, families: [], leftOut: [], names: own }
  for (const offer of offers) yield* offer.refresh()
  const names = new Families(own)
  const subjects = new Map([count, age].map(({ name, subject }) => [name, subject]))
  for (const { name } of metrics) subjects.delete(name)
  const families: Array<SourceFamily> = []
  const leftOut = [...clashing, ...offers.flatMap((offer) => [...offer.leftOut()])]
  let compared = 0
  for (const offer of offers) {
    for (const family of offer.families()) {
      const { name, subject } = family
      const owner = names.add(family)?.owner
      if (owner === undefined) {
        subjects.set(name, subject)
        families.push(family)
      } else {
        const whose = subjects.get(owner)
        const other = whose === undefined ? `the metric ${owner} on the registry` : `${owner}, which is ${whose}`
        leftOut.push(`${subject} is left out: its name ${name} clashes with ${other}`)
      }
      compared += 1
      if (compared % pieceSize === 0) yield
    }
  }
  names.addCounters(families)
  count.value = leftOut.length
  const isFree = subjects.get(count.name) === count.subject && own.typeOf(count.name) !== undefined
  return { metrics, families: isFree ? [...families, count] : families, leftOut, names }
}

// A worker adds it to whatever it serves.
const age = { ...ageMetric, subject: "the age of an exposition" }

/** How many are left out, as a family of its own. */
class LeftOut implements SourceFamily {
  readonly name = "effect_prometheus_metrics_left_out"
  readonly help = "Metrics that are left out of this exposition: the log says which and why."
  readonly type = "gauge"
  readonly subject = "the count of metrics left out"
  value = 0
  samples(): Iterable<ReadonlyArray<Sample>> {
    return [[{ value: this.value }]]
  }
}

const counts = new WeakMap<object, LeftOut>()

const countOf = (registry: object): LeftOut => {
  const known = counts.get(registry) ?? new LeftOut()
  counts.set(registry, known)
  return known
}
