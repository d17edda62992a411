/** What the explorer makes of expositions, without a browser. */
import { type Found, found, type Wanted } from "../../src/explorer/filter.js"
import { reading } from "../../src/explorer/parse.js"
import { Store } from "../../src/explorer/store.js"

/** Another exposition, at a time in milliseconds. */
export const look = (store: Store, text: string, at: number): Store => {
  store.begin(at)
  for (const _ of reading(text, store));
  for (const _ of store.ending());
  return store
}

/** Expositions at some times, in seconds. */
export type Looks = ReadonlyArray<readonly [seconds: number, text: string]>

/** The store after these expositions. */
export const seenAt = (...looks: Looks): Store => {
  const store = new Store()
  for (const [seconds, text] of looks) look(store, text, seconds * 1_000)
  return store
}

/** One exposition each second. */
export const seen = (...texts: ReadonlyArray<string>): Store => seenAt(...texts.map((text, at) => [at, text] as const))

/** All of the families, or those that a filter selects, in their order. */
export const filtered = (store: Store, wanted: Partial<Wanted> = {}): ReadonlyArray<Found> =>
  found(store, { query: "", kind: undefined, changedOnly: false, sort: "name", ...wanted })

/** One of them. */
export const foundFamily = (store: Store, name: string, wanted: Partial<Wanted> = {}): Found => {
  const one = filtered(store, wanted).find(({ family }) => family.name === name)
  if (one === undefined) throw new Error(`${name} is not selected`)
  return one
}

/** The lines of a histogram: the cumulative count of each bucket. */
export const histogramLines = (
  name: string,
  labels: string,
  buckets: Readonly<Record<string, number>>,
  sum: number
): string => {
  const own = labels === "" ? "" : `{${labels}}`
  const lines = Object.entries(buckets).map(
    ([le, count]) => `${name}_bucket{${labels}${labels === "" ? "" : ","}le="${le}"} ${count}\n`
  )
  return `${lines.join("")}${name}_sum${own} ${sum}\n${name}_count${own} ${buckets["+Inf"] ?? 0}\n`
}
