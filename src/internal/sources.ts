/**
 * Families that come from somewhere else than the registry, and are exposed with its metrics for as long as their source
 * is open. The registry itself knows nothing of them.
 *
 * What is on the registry comes first, and what is added here: a family that would clash with either is left out, and so is
 * one that would clash with a family before it. What is left out is told.
 */
import type { Sample } from "./encoder.js"
import type { CumulativeSeries } from "./histogram.js"
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

/** The families of all sources of a registry. */
export interface Sourced {
  readonly families: ReadonlyArray<SourceFamily>
  /** What is left out, as sentences. */
  readonly leftOut: ReadonlyArray<string>
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

/** Whether the registry has any. */
export const hasSources = (registry: object): boolean => sources.has(registry)

/** How long names are compared before whoever reads them can give way. */
const pieceSize = 256

/** The families that are exposed beside those on the registry. It is done when it comes to its end. */
export function* sourced(registry: object, registered: ReadonlyArray<Registered>): Generator<void, Sourced> {
  const offers = [...(sources.get(registry) ?? [])].map(({ current }) => current)
  for (const offer of offers) yield* offer.refresh()
  const own = new Map(registered.map(({ name, type }) => [name, type]))
  const count = countOf(registry)
  const taken = new Map<string, Named>([count, age].map((added) => [added.name, added]))
  const families: Array<SourceFamily> = []
  const leftOut = offers.flatMap((offer) => [...offer.leftOut()])
  let compared = 0
  for (const offer of offers) {
    for (const family of offer.families()) {
      const clash = clashWith(family, own, taken)
      if (clash === undefined) {
        taken.set(family.name, family)
        families.push(family)
      } else leftOut.push(`${family.subject} is left out: ${clash}`)
      compared += 1
      if (compared % pieceSize === 0) yield
    }
  }
  count.value = leftOut.length
  return { families: clashWith(count, own, new Map()) === undefined ? [...families, count] : families, leftOut }
}

type Named = Pick<SourceFamily, "name" | "type" | "subject">

// A worker adds it to whatever it serves.
const age: Named = { ...ageMetric, subject: "the age of an exposition" }

const clashWith = (
  family: Named,
  own: ReadonlyMap<string, unknown>,
  taken: ReadonlyMap<string, Named>
): string | undefined => {
  const mine = ownerOf(family, (name) => own.get(name)) ?? counterOf(family, own)
  if (mine !== undefined) return `its name ${family.name} clashes with the metric ${mine} on the registry`
  const other = ownerOf(family, (name) => taken.get(name)?.type)
  return other && `its name ${family.name} clashes with ${other}, which is ${taken.get(other)?.subject}`
}

// What follows the name of a family in the names of its samples, in either format; `_created` is reserved in OpenMetrics,
// "MetricFamily" names must not be such that samples of two families could have the same name.
const suffixes: { readonly [type: string]: ReadonlyArray<string> } = {
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["_sum", "_count", "_created"]
}

const suffixesOf = (type: unknown): ReadonlyArray<string> =>
  typeof type === "string" && Object.hasOwn(suffixes, type) ? (suffixes[type] ?? []) : []

// The family that has a name which this one has as well, for itself or for its samples.
const ownerOf = ({ name, type }: Named, typeOf: (name: string) => unknown): string | undefined => {
  for (const suffix of ["", ...suffixesOf(type)]) {
    const claimed = `${name}${suffix}`
    if (typeOf(claimed) !== undefined) return claimed
    for (const other of suffixes["histogram"] ?? []) {
      if (!claimed.endsWith(other)) continue
      const owner = claimed.slice(0, -other.length)
      if (suffixesOf(typeOf(owner)).includes(other)) return owner
    }
  }
  return undefined
}

// A counter on the registry has its family without `_total` in OpenMetrics, and reserves `_created`. One of a source gives
// way there as any other: it becomes `unknown`.
const counterOf = ({ name }: Named, own: ReadonlyMap<string, unknown>): string | undefined =>
  [`${name}_total`, name.replace(/_created$/, "_total")].find((total) => own.get(total) === "counter")

/** How many are left out, as a family of its own. */
class LeftOut implements SourceFamily {
  readonly name = "effect_prometheus_metrics_left_out"
  readonly help = "Metrics of Effect that are left out of this exposition because they clash: the log tells which."
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
