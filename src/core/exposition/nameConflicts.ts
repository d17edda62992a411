/**
 * Families that cannot be in one exposition, because their samples would have the same names: Prometheus silently drops
 * one of two such samples; a strict parser rejects the exposition. So the later one in the registry is left out,
 * whichever families a scrape requests, and in the same way for both formats.
 */
import { shown } from "../util/text.js"

/** The sample names depend on both. */
export interface Named {
  readonly name: string
  readonly type: unknown
}

/** The family had the sample name first. */
export interface Conflict {
  readonly sample: string
  readonly owner: string
}

// OpenMetrics, "MetricFamily", "Suffixes": `_created` is reserved even if no such sample exists.
const suffixes: { readonly [type: string]: ReadonlyArray<string> } = {
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["_sum", "_count", "_created"]
}

const suffixesOf = (type: unknown): ReadonlyArray<string> =>
  typeof type === "string" && Object.hasOwn(suffixes, type) ? (suffixes[type] ?? []) : []

/** Valid in both formats. */
export const isMetricName = (name: unknown): name is string =>
  typeof name === "string" && /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)

/** `typeOf` returns the type of another family by its name. */
export const conflictWith = ({ name, type }: Named, typeOf: (name: string) => unknown): Conflict | undefined => {
  for (const suffix of ["", ...suffixesOf(type)]) {
    const sample = `${name}${suffix}`
    if (typeOf(sample) !== undefined) return { sample, owner: sample }
    for (const other of suffixes["histogram"] ?? []) {
      if (!sample.endsWith(other)) continue
      const owner = sample.slice(0, -other.length)
      if (suffixesOf(typeOf(owner)).includes(other)) return { sample, owner }
    }
  }
  return undefined
}

/** Such a counter is a counter in OpenMetrics, where its samples end in `_total`. */
export const isTotal = (name: string): boolean => name.endsWith("_total") && name !== "_total"

export const withoutTotal = (name: string): string => name.slice(0, -"_total".length)

// Reserved in OpenMetrics in addition to its own name.
const asCounter = (name: string): ReadonlyArray<string> => [withoutTotal(name), `${withoutTotal(name)}_created`]

/** The added families, and the families of `before`. */
export class Families {
  /** Counters that are `unknown` in OpenMetrics, each with the family that their OpenMetrics name conflicts with. */
  readonly clashes: Map<string, string>
  private readonly types = new Map<string, unknown>()
  private readonly countersTake = new Map<string, string>()

  constructor(private readonly before?: Families) {
    this.clashes = new Map(before?.clashes)
  }

  readonly typeOf = (name: string): unknown => this.types.get(name) ?? this.before?.typeOf(name)

  /** It can also conflict with the OpenMetrics names of a counter of `before`. */
  add(family: Named): Conflict | undefined {
    const conflict = conflictWith(family, this.typeOf) ?? this.before?.counterWith(family)
    // A family of unknown type occupies its name as well.
    if (conflict === undefined) this.types.set(family.name, family.type ?? "unknown")
    return conflict
  }

  /**
   * In OpenMetrics a counter has its name without `_total`, and reserves `_created`. If one of these names is taken, it
   * becomes `unknown` and keeps its name.
   */
  addCounters(families: ReadonlyArray<Named>): void {
    for (const { name, type } of families) {
      if (type !== "counter" || !isTotal(name)) continue
      const conflict = this.counterClash(name)
      if (conflict === undefined) for (const taken of asCounter(name)) this.countersTake.set(taken, name)
      else this.clashes.set(name, conflict)
    }
  }

  /** Whether the family of that name could have another type without a conflict. */
  canBe(name: string, type: unknown): boolean {
    const others = (other: string): unknown => (other === name ? undefined : this.typeOf(other))
    if (conflictWith({ name, type }, others) !== undefined || this.counterWith({ name, type }) !== undefined)
      return false
    return type !== "counter" || !isTotal(name) || this.counterClash(name) === undefined
  }

  private counterClash(name: string): string | undefined {
    return asCounter(name)
      .map((taken) => this.takenBy(taken))
      .find((owner) => owner !== undefined)
  }

  private takenBy(name: string): string | undefined {
    return conflictWith({ name, type: undefined }, this.typeOf)?.owner ?? this.counterOf(name)
  }

  private counterOf(name: string): string | undefined {
    return this.countersTake.get(name) ?? this.before?.counterOf(name)
  }

  private counterWith({ name, type }: Named): Conflict | undefined {
    for (const suffix of ["", ...suffixesOf(type)]) {
      const sample = `${name}${suffix}`
      const owner = this.counterOf(sample)
      if (owner !== undefined) return { sample, owner }
    }
    return undefined
  }
}

export interface Decision {
  readonly families: Families
  /** One element for each family of the registry. */
  readonly isExposed: ReadonlyArray<boolean>
  /** As sentences. */
  readonly leftOut: ReadonlyArray<string>
}

const decisions = new WeakMap<object, { readonly on: ReadonlyArray<Named>; readonly decision: Decision }>()

// Names that are compared before a yield to the event loop.
const pieceSize = 256

/** The families and library names to expose. Reused as long as the registry has the same families. */
export function* decide(
  registry: object,
  all: ReadonlyArray<Named>,
  added: ReadonlyArray<Named>
): Generator<void, Decision> {
  const last = decisions.get(registry)
  if (last?.on.length === all.length && all.every((family, at) => isSame(family, last.on[at]))) return last.decision
  const families = new Families()
  const isExposed: Array<boolean> = []
  const leftOut: Array<string> = []
  for (const family of all) {
    const trouble = troubleOf(family, families)
    if (trouble !== undefined) leftOut.push(trouble)
    isExposed.push(trouble === undefined)
    if (isExposed.length % pieceSize === 0) yield
  }
  for (const family of added) families.add(family)
  families.addCounters(all.filter((_, at) => isExposed[at]))
  const decision = { families, isExposed, leftOut }
  decisions.set(registry, { on: all.map(({ name, type }) => ({ name, type })), decision })
  return decision
}

const isSame = ({ name, type }: Named, other: Named | undefined): boolean => name === other?.name && type === other.type

const troubleOf = (family: Named, families: Families): string | undefined => {
  const { name } = family
  if (!isMetricName(name)) return `a metric is left out: its name ${shown(name)} is invalid`
  const conflict = families.add(family)
  if (conflict === undefined) return undefined
  const { owner, sample } = conflict
  return (
    `the ${kindOf(family.type)} ${name} is left out: the ${kindOf(families.typeOf(owner))} ${owner}, which is ` +
    `registered earlier, already has the sample name ${sample}; rename one of the two`
  )
}

/** As a word in a sentence. */
export const kindOf = (type: unknown): string => (typeof type === "string" && type !== "unknown" ? type : "metric")
