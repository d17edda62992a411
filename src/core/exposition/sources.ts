/**
 * Families that are not on the registry, but exposed with it while their source is open. A family of a source that
 * clashes with a metric of the registry, a family of the library, or a family before it is left out with a notice.
 */
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { FamilyHead, FamilyReader, RegistryContents } from "./model.js"
import { decide, Families } from "./nameConflicts.js"
import { ageFamily, leftOutFamilyOf } from "./ownFamilies.js"

/** The same object for each exposition: it is the key of its cached texts. */
export interface SourceFamily extends FamilyReader {
  /** The beginning of a sentence that says where the family comes from. */
  readonly subject: string
}

export interface Source {
  readonly current: Offer
}

export interface Offer {
  /** Reads new families. The caller can pause after each step. */
  refresh(): Iterable<void>
  /** In the order in which they were added. */
  families(): Iterable<SourceFamily>
  /** As sentences. */
  leftOut(): Iterable<string>
}

export interface Exposed {
  /** The metrics of the registry, then the families of its sources. */
  readonly families: ReadonlyArray<FamilyReader>
  /** As sentences. */
  readonly leftOut: ReadonlyArray<string>
  readonly names: Families
}

const sources = oncePerProcess("sources", () => new WeakMap<object, Set<Source>>())

export const openSource = (registry: object, source: Source): void =>
  void getOrInsert(sources, registry, () => new Set()).add(source)

/** Expositions that run still contain its families. */
export const closeSource = (registry: object, source: Source): void => {
  const open = sources.get(registry)
  open?.delete(source)
  if (open?.size === 0) sources.delete(registry)
}

// Names that are compared before a yield to the event loop.
const namesAtOnce = 256

export function* exposedOf(
  registry: object,
  { families: registered }: Pick<RegistryContents, "families">
): Generator<void, Exposed> {
  const count = leftOutFamilyOf(registry)
  const { families: own, isExposed, leftOut: clashing } = yield* decide(registry, registered, [count, ageFamily])
  const metrics = clashing.length === 0 ? registered : registered.filter((_, at) => isExposed[at])
  const offers = [...(sources.get(registry) ?? [])].map(({ current }) => current)
  if (offers.length + clashing.length === 0) return { families: metrics, leftOut: [], names: own }
  for (const offer of offers) yield* offer.refresh()
  const names = new Families(own)
  const subjects = new Map([count, ageFamily].map(({ name, subject }) => [name, subject]))
  for (const { name } of metrics) subjects.delete(name)
  const families: Array<SourceFamily> = []
  const leftOut = [...clashing, ...offers.flatMap((offer) => [...offer.leftOut()])]
  let compared = 0
  for (const offer of offers) {
    for (const family of offer.families()) {
      const owner = names.add(family)?.owner
      if (owner === undefined) {
        subjects.set(family.name, family.subject)
        families.push(family)
      } else leftOut.push(clash(family, owner, subjects.get(owner)))
      compared += 1
      if (compared % namesAtOnce === 0) yield
    }
  }
  names.addCounters(families)
  count.value = leftOut.length
  const isFree = subjects.get(count.name) === count.subject && own.typeOf(count.name) !== undefined
  return { families: [...metrics, ...families, ...(isFree ? [count] : [])], leftOut, names }
}

const clash = (
  { name, subject }: FamilyHead & { readonly subject: string },
  owner: string,
  ownerSubject: string | undefined
): string => {
  const other =
    ownerSubject === undefined ? `the metric ${owner} on the registry` : `${owner}, which is ${ownerSubject}`
  return `${subject} is left out: its name ${name} clashes with ${other}`
}
