/** Effect's own registry as a source of families. It is one for the whole process, and nothing ever leaves it. */
import * as Metric from "effect/Metric"
import type * as MetricKey from "effect/MetricKey"
import * as MetricKeyType from "effect/MetricKeyType"
import * as MutableHashMap from "effect/MutableHashMap"
import type { Hook } from "./effectFamilies.js"
import { EffectFamily } from "./effectFamilies.js"
import type { Described } from "./effectShapes.js"
import { described } from "./effectShapes.js"
import { readable } from "./effectSummary.js"
import type { LabelTexts } from "./labelText.js"
import { labelText, someLabels } from "./labelText.js"
import { messageOf } from "./message.js"
import type { Offer, Source } from "./sources.js"
import { closeSource, openSource } from "./sources.js"

/** Whether a metric of that name is exposed. */
export type Wanted = (name: string) => boolean

type Key = MetricKey.MetricKey.Untyped

// How many metrics are looked at before whoever does it can give way.
const pieceSize = 256

/** The metrics that one of the filters wants. */
class EffectSource implements Source {
  /** One for each of those who have opened it. */
  private filters: ReadonlyArray<Wanted> = []
  private catalog: Catalog | undefined

  constructor(
    private readonly registry: { readonly _defaultLabels?: unknown },
    private readonly prefix: string
  ) {}

  get current(): Catalog {
    // Which series are the same depends on the labels that all of them have.
    const defaults = someLabels(this.registry._defaultLabels)
    if (labelText(defaults) !== labelText(this.catalog?.defaults)) this.catalog = undefined
    this.catalog ??= new Catalog(this.prefix, this.filters, defaults)
    return this.catalog
  }

  get isClosed(): boolean {
    return this.filters.length === 0
  }

  /** What is exposed is worked out anew; an exposition that has begun goes on with what it has. */
  change(filters: (before: ReadonlyArray<Wanted>) => ReadonlyArray<Wanted>): void {
    this.filters = filters(this.filters)
    this.catalog = undefined
  }
}

/** What is known of Effect's registry. */
class Catalog implements Offer {
  private readonly byName = new Map<string, EffectFamily>()
  // One for each metric that is not exposed, however many series it has.
  private readonly troubles = new Map<string, string>()
  private readonly seen = new Set<Key>()
  private size = 0

  constructor(
    private readonly prefix: string,
    private readonly filters: ReadonlyArray<Wanted>,
    readonly defaults: LabelTexts | undefined
  ) {}

  /** Takes in the metrics that are new. Where there are none, that takes no time. */
  *refresh(): Generator<void> {
    const { entries, size } = content()
    if (size === this.size) return
    let count = 0
    for (const [key, hook] of entries) {
      if (!this.seen.has(key)) {
        this.seen.add(key)
        this.add(key, hook)
      }
      count += 1
      if (count % pieceSize === 0) yield
    }
    this.size = size
  }

  families(): Iterable<EffectFamily> {
    return this.byName.values()
  }

  leftOut(): Iterable<string> {
    return this.troubles.values()
  }

  private add(key: Key, hook: Hook): void {
    try {
      if (!this.filters.some((wants) => wants(String(key.name)))) return
      const metric = described(key, this.prefix)
      const { keyType } = key
      const read = MetricKeyType.isSummaryKey(keyType) ? readable(hook, keyType.maxAge) : hook
      if (typeof metric === "string") this.tell(metric, metric)
      else this.addTo(this.byName.get(metric.name) ?? new EffectFamily(metric), metric, read)
    } catch (error) {
      // A name or tags that types do not allow. Nothing else is to fall for them.
      const trouble = `a metric of Effect is left out, for it cannot be read: ${messageOf(error)}`
      this.tell(trouble, trouble)
    }
  }

  private addTo(family: EffectFamily, metric: Described, hook: Hook): void {
    const trouble = family.add(metric, hook, this.defaults)
    if (trouble === undefined) this.byName.set(metric.name, family)
    else this.tell(`${metric.name} ${metric.subject}`, trouble)
  }

  private tell(metric: string, trouble: string): void {
    if (!this.troubles.has(metric)) this.troubles.set(metric, trouble)
  }
}

/**
 * Effect tells of its metrics with all of their values at once, which takes as long as to read every one. So they are taken
 * from where it keeps them; a registry that keeps them otherwise is asked.
 */
const content = (): { readonly entries: Iterable<readonly [Key, Hook]>; readonly size: number } => {
  const registry = Metric.globalMetricRegistry
  const { map } = registry as { readonly map?: unknown }
  if (isMap(map)) return { entries: map, size: MutableHashMap.size(map) }
  const entries = registry.snapshot().map(({ metricKey }) => [metricKey, registry.get(metricKey)] as const)
  return { entries, size: entries.length }
}

const isMap = (map: unknown): map is MutableHashMap.MutableHashMap<Key, Hook> =>
  typeof map === "object" && map !== null && Symbol.iterator in map && "buckets" in map && "bucketsSize" in map

// For each registry those that are open, by their prefix.
const opened = new WeakMap<object, Map<string, EffectSource>>()

/**
 * Has the metrics that are wanted in the expositions of that registry, until what comes back is called. Those who want them
 * with the same prefix share one source, so that a metric is there once.
 */
export const openEffectSource = (registry: object, prefix: string, wanted: Wanted): (() => void) => {
  const sources = opened.get(registry) ?? new Map<string, EffectSource>()
  opened.set(registry, sources)
  const source = sources.get(prefix) ?? new EffectSource(registry, prefix)
  sources.set(prefix, source)
  // Two who hand in the same function are still two.
  const own: Wanted = (name) => wanted(name)
  source.change((filters) => [...filters, own])
  openSource(registry, source)
  return () => {
    source.change((filters) => filters.filter((filter) => filter !== own))
    if (!source.isClosed) return
    sources.delete(prefix)
    closeSource(registry, source)
  }
}
