/** Which part of a series a sample is: its value, or the sum, the count or a point of its distribution. */
import type { Family, Kind, Point } from "./model.js"
import { type Labels, toNumber } from "./parse.js"

export type Part = "value" | "sum" | "count" | "created" | Point

/** The label that holds the bound or the quantile of a point, by the kind of the family. */
export const boundLabels: Readonly<Record<string, string>> = { histogram: "le", summary: "quantile" }

const suffixes: { readonly [K in Kind]: ReadonlyArray<string> } = {
  counter: ["", "_total", "_created"],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["", "_sum", "_count", "_created"],
  untyped: [""]
}

/** What a sample's name has after the name of its family; `undefined` if it is not of this family. */
export const suffixOf = ({ kind, name }: Family, sample: string): string | undefined =>
  sample.startsWith(name)
    ? suffixes[kind].find((suffix) => sample.length === name.length + suffix.length && sample.endsWith(suffix))
    : undefined

/** `undefined` if the bound of a point is missing or is not a number. */
export const partOf = (
  kind: Kind,
  suffix: string,
  labels: Labels,
  seen: Pick<Point, "value" | "first">
): Part | undefined => {
  if (suffix === "_created") return "created"
  const label = boundLabels[kind]
  if (label === undefined) return "value"
  if (suffix === "_sum") return "sum"
  if (suffix === "_count") return "count"
  const bound = toNumber(labels.find(([name]) => name === label)?.[1] ?? "")
  return bound === undefined ? undefined : { bound, ...seen, index: 0 }
}
