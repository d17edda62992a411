/**
 * The exposition formats, one row each. A row contains everything that differs between them.
 *
 * Text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats. OpenMetrics 1.0.0:
 * https://prometheus.io/docs/specs/om/open_metrics_spec; comments name the sections of that specification.
 */
import { escapeQuoted, type LabelValues } from "./labelText.js"
import type { FamilyHead } from "./model.js"
import { isTotal, withoutTotal } from "./nameConflicts.js"
import { commonRules, openMetricsRules, type Rule } from "./sampleRules.js"

export interface FormatDefinition {
  /** In `Accept`, with its parameter `version`. */
  readonly mediaType: string
  readonly version: string
  /** Prometheus 3 fails a scrape whose content type is missing or unknown. */
  readonly contentType: string
  readonly epilogue: string
  /** Samples and exemplars that break a rule are left out. */
  readonly rules: ReadonlySet<Rule>
  readonly hasExemplars: boolean
  /** A histogram without a sum has no count either. */
  readonly countNeedsSum: boolean
  /** A counter that cannot reserve the names that `Families.addCounters` checks has type unknown. */
  readonly reservesCounterNames: boolean
  /** The lines before the samples, and the type in them. */
  readonly head: (family: FamilyHead, clashes: ReadonlyMap<string, string>) => { type: string; text: string }
}

const textHead: FormatDefinition["head"] = ({ help, name, type: given }) => {
  const type = isKnown(given) ? given : "untyped"
  return { type, text: `# HELP ${name} ${escapeHelp(textOf(help))}\n# TYPE ${name} ${type}\n` }
}

// "Counter": the sample of a counter MUST end in `_total`, and its family name is without `_total`. A series has the
// same name in all formats, so a counter with any other name is `unknown`.
const openMetricsHead: FormatDefinition["head"] = ({ help, name, type: given }, clashes) => {
  const canCount = isTotal(name) && !clashes.has(name)
  const type = isKnown(given) && (given !== "counter" || canCount) ? given : "unknown"
  const family = type === "counter" ? withoutTotal(name) : name
  return { type, text: `# HELP ${family} ${escapeQuoted(textOf(help))}\n# TYPE ${family} ${type}\n` }
}

// A metric that is not made by a client may have no help.
const textOf = (help: unknown): string => (typeof help === "string" ? help : "")

const isKnown = (type: unknown): type is string =>
  type === "counter" || type === "gauge" || type === "histogram" || type === "summary"

const escapeHelp = (text: string): string =>
  /[\\\n]/.test(text) ? text.replace(/[\\\n]/g, (character) => (character === "\n" ? "\\n" : "\\\\")) : text

/** The first one is the default. */
export const formats = {
  text: {
    mediaType: "text/plain",
    version: "0.0.4",
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    epilogue: "",
    rules: commonRules,
    hasExemplars: false,
    countNeedsSum: false,
    reservesCounterNames: false,
    head: textHead
  },
  openmetrics: {
    mediaType: "application/openmetrics-text",
    version: "1.0.0",
    contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    // "Overall Structure": the exposition MUST end with EOF.
    epilogue: "# EOF\n",
    rules: openMetricsRules,
    hasExemplars: true,
    // "Histogram": there is a count "if and only if a Sum value is present".
    countNeedsSum: true,
    reservesCounterNames: true,
    head: openMetricsHead
  }
} as const satisfies Readonly<Record<string, FormatDefinition>>

export type Format = keyof typeof formats

export const formatNames = Object.keys(formats) as ReadonlyArray<Format>

export const defaultFormat: Format = "text"

export const definitionOf = (format: Format): FormatDefinition => formats[format]

export const hasRule = (format: Format, rule: Rule): boolean => definitionOf(format).rules.has(rule)

export interface Style {
  readonly format: Format
  /** Each sample gets those that it does not have itself. */
  readonly defaults: LabelValues | undefined
  /** Counters whose names clash in a format that reserves counter names, each with the family that it clashes with. */
  readonly clashes: ReadonlyMap<string, string>
  readonly leaveOut: (family: string, rule: Rule) => void
}
