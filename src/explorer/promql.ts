/** Expressions of PromQL for what is shown. Names and values are escaped, whatever they contain. */
import type { Matcher } from "./matchers.js"
import type { Family } from "./model.js"
import { quantileName, shownQuantiles } from "./observations.js"

/** What an expression is about. */
export interface Target {
  readonly family: Pick<Family, "name" | "kind" | "suffix">
  readonly matchers: ReadonlyArray<Matcher>
  /** The labels that a sum keeps; `undefined` if the series are not summed. */
  readonly by: ReadonlyArray<string> | undefined
  /** The quantiles of a summary. */
  readonly quantiles: ReadonlyArray<number>
}

/** One expression, and what it calculates. */
export interface Expression {
  readonly name: string
  readonly text: string
}

/** The expressions for a target. */
export const expressionsOf = (target: Target): ReadonlyArray<Expression> => {
  const { by, family, matchers } = target
  if (family.kind === "histogram") return ofHistogram(target)
  if (family.kind === "summary") return ofSummary(target)
  const selector = selectorOf(family.name + family.suffix, matchers)
  const value = { name: by === undefined ? "Value" : "Sum", text: summed(by, selector) }
  if (family.kind !== "counter") return [value]
  return [{ name: "Per second", text: summed(by, rate(selector)) }, value]
}

const ofHistogram = ({ by, family: { name }, matchers }: Target): ReadonlyArray<Expression> => {
  const buckets = summed(by && ["le", ...by], rate(selectorOf(`${name}_bucket`, matchers)))
  return [
    ...shownQuantiles.map((quantile) => ({
      name: quantileName(quantile),
      text: `histogram_quantile(${quantile}, ${buckets})`
    })),
    ...meanAndRate(name, matchers, by)
  ]
}

// More would not be readable.
const mostQuantiles = 5

const ofSummary = ({ by, family: { name }, matchers, quantiles }: Target): ReadonlyArray<Expression> => {
  // The quantiles of several series have no sum.
  const shown = by === undefined ? quantiles.filter((quantile) => quantile >= 0 && quantile <= 1) : []
  return [
    ...shown.slice(0, mostQuantiles).map((quantile) => ({
      name: quantileName(quantile),
      text: selectorOf(name, [...matchers, { name: "quantile", values: writtenAs(quantile) }])
    })),
    ...meanAndRate(name, matchers, by)
  ]
}

// Prometheus 3 writes 1 as 1.0.
const writtenAs = (quantile: number): ReadonlyArray<string> =>
  Number.isInteger(quantile) ? [`${quantile}`, `${quantile}.0`] : [String(quantile)]

const meanAndRate = (name: string, matchers: ReadonlyArray<Matcher>, by: Target["by"]): ReadonlyArray<Expression> => {
  const count = rate(selectorOf(`${name}_count`, matchers))
  const sum = rate(selectorOf(`${name}_sum`, matchers))
  return [
    { name: "Mean", text: `${summed(by, sum)} / ${summed(by, count)}` },
    { name: "Per second", text: summed(by, count) }
  ]
}

const rate = (selector: string): string => `rate(${selector}[5m])`

const summed = (by: Target["by"], expression: string): string => {
  if (by === undefined) return expression
  return by.length === 0 ? `sum(${expression})` : `sum by (${by.map(labelName).join(", ")}) (${expression})`
}

// These words are not metrics to the parser, even where it expects one; and numbers are not names.
const reservedMetrics = /^(?:on|ignoring|group_left|group_right|bool|atan2|inf|nan)$/i
const reservedLabels = /^(?:without|inf|nan)$/i

// Prometheus 2 can read any metric name in this form, and Prometheus 3 as well.
const selectorOf = (metric: string, matchers: ReadonlyArray<Matcher>): string => {
  const isPlain = /^[a-z_:][a-z0-9_:]*$/i.test(metric) && !reservedMetrics.test(metric)
  const parts = matchers.map(matcherText)
  if (!isPlain) parts.unshift(`__name__=${quoted(metric)}`)
  return `${isPlain ? metric : ""}${parts.length === 0 ? "" : `{${parts.join(",")}}`}`
}

const isLabel = /^[a-z_][a-z0-9_]*$/i

const labelName = (name: string): string => (isLabel.test(name) && !reservedLabels.test(name) ? name : quoted(name))

const matcherText = ({ name, values }: Matcher): string => {
  const label = isLabel.test(name) ? name : quoted(name)
  const [only] = values
  if (values.length === 1 && only !== undefined) return `${label}=${quoted(only)}`
  return `${label}=~${quoted(values.map(escapedForRegex).join("|"))}`
}

const escapedForRegex = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")

// Invisible characters, and the replacement character, which the parser takes for invalid UTF-8. They are written as
// numbers, which Prometheus 2.24 cannot read.
const special = /["\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}\uFFFD]/gu

const short: Readonly<Record<string, string>> = { '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }

const quoted = (text: string): string => `"${text.replace(special, escaped)}"`

const escaped = (character: string): string => {
  const known = short[character]
  if (known !== undefined) return known
  const code = (character.codePointAt(0) ?? 0).toString(16)
  return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`
}
