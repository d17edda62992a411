/**
 * Which families cannot be in one exposition, because their samples would have the same names.
 *
 * Prometheus keeps one of two such samples and drops the other without a word; a strict reader refuses the exposition. So
 * of two families one is left out: the one that comes later in the registry. All families are looked at, whichever of
 * them are asked for, and in the same way for both formats.
 */

import { shown } from "./options.js"

/** A family, as far as its sample names depend on it. */
export interface Named {
  readonly name: string
  readonly type: unknown
}

/** What two families share, and the one that had it first. */
export interface Conflict {
  readonly sample: string
  readonly owner: string
}

// What follows the name of a family in the names of its samples. OpenMetrics, "MetricFamily", "Suffixes": `_created` is
// reserved, whether or not there is such a sample.
const suffixes: { readonly [type: string]: ReadonlyArray<string> } = {
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["_sum", "_count", "_created"]
}

const suffixesOf = (type: unknown): ReadonlyArray<string> =>
  typeof type === "string" && Object.hasOwn(suffixes, type) ? (suffixes[type] ?? []) : []

/** Whether samples and families can be called so in both formats. */
export const isMetricName = (name: unknown): name is string =>
  typeof name === "string" && /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)

/** What another family has that this one would have as well. `typeOf` knows the other families by their names. */
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

/** Whether a counter can be one in OpenMetrics, where its samples end in `_total`. */
export const isTotal = (name: string): boolean => name.endsWith("_total") && name !== "_total"

/** The family of such a counter in OpenMetrics. */
export const withoutTotal = (name: string): string => name.slice(0, -"_total".length)

// The names that a counter takes in OpenMetrics, beside its own.
const asCounter = (name: string): ReadonlyArray<string> => [withoutTotal(name), `${withoutTotal(name)}_created`]

/** The families of an exposition, by name: those that are added, beside those of `before`. */
export class Families {
  /** Counters that are `unknown` in OpenMetrics, each with the family that their name there conflicts with. */
  readonly clashes: Map<string, string>
  private readonly types = new Map<string, unknown>()
  private readonly countersTake = new Map<string, string>()

  constructor(private readonly before?: Families) {
    this.clashes = new Map(before?.clashes)
  }

  readonly typeOf = (name: string): unknown => this.types.get(name) ?? this.before?.typeOf(name)

  /** Adds a family, or returns what it conflicts with: a counter of `before` also by its names in OpenMetrics. */
  add(family: Named): Conflict | undefined {
    const conflict = conflictWith(family, this.typeOf) ?? this.before?.counterWith(family)
    // A family of no type that is known has a name nevertheless.
    if (conflict === undefined) this.types.set(family.name, family.type ?? "unknown")
    return conflict
  }

  /**
   * Looks for the counters among these that conflict in OpenMetrics alone. A counter has its name without `_total` there,
   * and reserves `_created`. Where either is taken it becomes `unknown`, with the name that it has.
   */
  addCounters(families: ReadonlyArray<Named>): void {
    for (const { name, type } of families) {
      if (type !== "counter" || !isTotal(name)) continue
      const conflict = this.counterClash(name)
      if (conflict === undefined) for (const taken of asCounter(name)) this.countersTake.set(taken, name)
      else this.clashes.set(name, conflict)
    }
  }

  /** Whether the family of that name could have another type, beside all others. */
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

/** Which families of a registry are exposed. */
export interface Decision {
  readonly families: Families
  /** For each of them. */
  readonly isExposed: ReadonlyArray<boolean>
  /** What is left out, as sentences. */
  readonly leftOut: ReadonlyArray<string>
}

const decisions = new WeakMap<object, { readonly on: ReadonlyArray<Named>; readonly decision: Decision }>()

// How many names are compared before the event loop may go on.
const pieceSize = 256

/**
 * Decides which families of a registry are exposed, and which of the names that the library adds itself are free. For as
 * long as the registry has the same families, that is decided once.
 */
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
  if (!isMetricName(name)) return `a metric is left out: its name ${shortened(shown(name))} is not valid`
  const conflict = families.add(family)
  if (conflict === undefined) return undefined
  const { owner, sample } = conflict
  return (
    `the ${kindOf(family.type)} ${name} is left out: the sample name ${sample} belongs to the ` +
    `${kindOf(families.typeOf(owner))} ${owner}, which is registered before it; rename one of the two`
  )
}

// Of a name that is none, so many characters tell which one it is.
const longest = 200

const shortened = (text: string): string => (text.length > longest ? `${text.slice(0, longest)}…` : text)

/** A type as a word of a sentence. */
export const kindOf = (type: unknown): string => (typeof type === "string" && type !== "unknown" ? type : "metric")
