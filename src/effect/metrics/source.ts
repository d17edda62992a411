/** What is exposed of a registry of Effect. */
import { defaultLabelsOf } from "../../core/client/registryReader.js"
import { type LabelTexts, labelText, someLabels } from "../../core/exposition/labelText.js"
import { closeSource, type Offer, openSource, type Source } from "../../core/exposition/sources.js"
import { getOrInsert } from "../../core/util/getOrInsert.js"
import { oncePerProcess } from "../../core/util/oncePerProcess.js"
import { messageOf } from "../../core/util/text.js"
import { type Described, described } from "./describe.js"
import { EffectFamily } from "./families.js"
import type { EffectRegistry, Entry, Hook } from "./model.js"

export type Selection = (name: string) => boolean

// Metrics that are checked before the event loop may continue.
const pieceSize = 256

/** Selected by at least one filter. */
class EffectSource implements Source {
  /** One per call that opened the source. */
  private filters: ReadonlyArray<Selection> = []
  private catalog: Catalog | undefined

  constructor(
    private readonly registry: object,
    private readonly effects: EffectRegistry,
    private readonly prefix: string
  ) {}

  get current(): Catalog {
    // The default labels decide which series are the same.
    const defaults = someLabels(defaultLabelsOf(this.registry))
    if (labelText(defaults) !== labelText(this.catalog?.defaults)) this.catalog = undefined
    this.catalog ??= new Catalog(this.effects, this.prefix, this.filters, defaults)
    return this.catalog
  }

  get isClosed(): boolean {
    return this.filters.length === 0
  }

  /** The catalog is computed again; a running exposition keeps the previous one. */
  change(filters: (before: ReadonlyArray<Selection>) => ReadonlyArray<Selection>): void {
    this.filters = filters(this.filters)
    this.catalog = undefined
  }
}

/** What is exposed of Effect's registry. */
class Catalog implements Offer {
  private byName = new Map<string, EffectFamily>()
  // One entry per metric that is not exposed, however many series it has.
  private troubles = new Map<string, string>()
  // The values, by their keys.
  private seen = new Map<unknown, unknown>()
  private size = 0

  constructor(
    private readonly effects: EffectRegistry,
    private readonly prefix: string,
    private readonly filters: ReadonlyArray<Selection>,
    readonly defaults: LabelTexts | undefined
  ) {}

  *refresh(): Generator<void> {
    const { canShrink, content } = this.effects
    const { entries, size } = content()
    if (size === this.size && !canShrink) return
    if (canShrink && (yield* this.hasLost(entries, size))) this.clear()
    let count = 0
    for (const entry of entries) {
      const [key, value] = entry
      if (!this.seen.has(key)) {
        this.seen.set(key, value)
        this.add(entry)
      }
      count += 1
      if (count % pieceSize === 0) yield
    }
    this.size = size
  }

  /** Whether a metric has been removed, perhaps replaced by another one. */
  private *hasLost(entries: Iterable<Entry>, size: number): Generator<void, boolean> {
    const { seen } = this
    if (size < seen.size) return true
    let known = 0
    let count = 0
    for (const [key, value] of entries) {
      if (seen.get(key) === value) known += 1
      else if (seen.has(key)) return true
      count += 1
      // Such a comparison takes a fraction of the time that reading a metric takes.
      if (count % (16 * pieceSize) === 0) yield
    }
    return known < seen.size
  }

  // A running exposition keeps the previous families.
  private clear(): void {
    this.byName = new Map()
    this.troubles = new Map()
    this.seen = new Map()
  }

  families(): Iterable<EffectFamily> {
    return this.byName.values()
  }

  leftOut(): Iterable<string> {
    return this.troubles.values()
  }

  private add(entry: Entry): void {
    try {
      const found = this.effects.metricOf(entry)
      if (!this.filters.some((wants) => wants(String(found.name)))) return
      const metric = described(found, this.prefix)
      if (typeof metric === "string") this.note(metric, metric)
      else this.addTo(this.byName.get(metric.name) ?? new EffectFamily(metric), metric, found.hook)
    } catch (error) {
      // The name or the tags have values that the types do not allow. Other metrics must not be affected.
      const trouble = `a metric of Effect is left out, because it cannot be read: ${messageOf(error)}`
      this.note(trouble, trouble)
    }
  }

  private addTo(family: EffectFamily, metric: Described, hook: Hook): void {
    const trouble = family.add(metric, hook, this.defaults)
    if (trouble === undefined) this.byName.set(metric.name, family)
    else this.note(`${metric.name} ${metric.subject}`, trouble)
  }

  private note(metric: string, trouble: string): void {
    if (!this.troubles.has(metric)) this.troubles.set(metric, trouble)
  }
}

// The open sources of each registry, by the registry of Effect and the prefix.
const opened = oncePerProcess(
  "sources of Effect",
  () => new WeakMap<object, WeakMap<object, Map<string, EffectSource>>>()
)

/**
 * Open until the returned function is called. Calls for the same registry of Effect with the same prefix share a source,
 * to expose a metric once.
 */
export const openEffectSource = (
  registry: object,
  effects: EffectRegistry,
  prefix: string,
  wanted: Selection
): (() => void) => {
  const ofRegistry = getOrInsert(opened, registry, () => new WeakMap())
  const sources = getOrInsert(ofRegistry, effects.identity, () => new Map())
  const source = getOrInsert(sources, prefix, () => new EffectSource(registry, effects, prefix))
  // Makes each filter unique, because two calls may pass the same function.
  const own: Selection = (name) => wanted(name)
  source.change((filters) => [...filters, own])
  openSource(registry, source)
  return () => {
    source.change((filters) => filters.filter((filter) => filter !== own))
    if (!source.isClosed) return
    sources.delete(prefix)
    closeSource(registry, source)
  }
}
