/** Effect's own registry, which is global in the process. Metrics are never removed from it. */
import * as MetricKeyType from "effect/MetricKeyType"
import { defaultLabelsOf } from "../../core/client/registryReader.js"
import { type LabelTexts, labelText, someLabels } from "../../core/exposition/labelText.js"
import { closeSource, type Offer, openSource, type Source } from "../../core/exposition/sources.js"
import { getOrInsert } from "../../core/util/getOrInsert.js"
import { oncePerProcess } from "../../core/util/oncePerProcess.js"
import { messageOf } from "../../core/util/text.js"
import { type Described, described } from "./describe.js"
import { EffectFamily, type Hook } from "./families.js"
import { content, type Key } from "./globalRegistry.js"
import { readable } from "./summary.js"

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
    private readonly prefix: string
  ) {}

  get current(): Catalog {
    // The default labels decide which series are the same.
    const defaults = someLabels(defaultLabelsOf(this.registry))
    if (labelText(defaults) !== labelText(this.catalog?.defaults)) this.catalog = undefined
    this.catalog ??= new Catalog(this.prefix, this.filters, defaults)
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
  private readonly byName = new Map<string, EffectFamily>()
  // One entry per metric that is not exposed, however many series it has.
  private readonly troubles = new Map<string, string>()
  private readonly seen = new Set<Key>()
  private size = 0

  constructor(
    private readonly prefix: string,
    private readonly filters: ReadonlyArray<Selection>,
    readonly defaults: LabelTexts | undefined
  ) {}

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
      if (typeof metric === "string") this.note(metric, metric)
      else this.addTo(this.byName.get(metric.name) ?? new EffectFamily(metric), metric, read)
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

// The open sources of each registry, by prefix.
const opened = oncePerProcess("sources of Effect", () => new WeakMap<object, Map<string, EffectSource>>())

/** Open until the returned function is called. Calls with the same prefix share a source, to expose a metric once. */
export const openEffectSource = (registry: object, prefix: string, wanted: Selection): (() => void) => {
  const sources = getOrInsert(opened, registry, () => new Map())
  const source = getOrInsert(sources, prefix, () => new EffectSource(registry, prefix))
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
