/**
 * Readers of both formats, written from their specifications alone, that refuse whatever those forbid:
 * - text 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/
 * - OpenMetrics 1.0.0: https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
 *
 * Two things that OpenMetrics allows are refused, because no client of this library has them: info, state set and gauge
 * histogram families, and several points of one series.
 */
import { fail, isMetricName, Scanner, toNumber, unescaped, unescapeQuoted } from "./expositionScanner.js"
import type { Exemplar, Family, Sample } from "./formatRules.js"
import { checkOpenMetricsFamily, checkSeries, checkTextFamily } from "./formatRules.js"

export type { Exemplar, Family, Sample } from "./formatRules.js"

/** How strictly an exposition is read. */
export interface ReadOptions {
  /** Whether a family may have the name that a series of another has. Its metadata distinguish them then. */
  readonly mayClash?: boolean
}

/** Reads an exposition in text 0.0.4, or throws an error that names the line and the problem. */
export const parseText = (body: string, options: ReadOptions = {}): ReadonlyArray<Family> => {
  const lines = linesOf(body)
  if (lines.pop() !== "") throw new Error("the last line does not end with a line feed")
  const reader = new Reader("untyped", textSuffixes)
  for (const [index, line] of lines.entries()) located(index, line, () => readTextLine(reader, line))
  return checked(reader.families, textSuffixes, checkTextFamily, options)
}

/** Reads an exposition in OpenMetrics 1.0.0, or throws an error that names the line and the problem. */
export const parseOpenMetrics = (body: string, options: ReadOptions = {}): ReadonlyArray<Family> => {
  const lines = linesOf(body)
  if (lines.at(-1) === "") lines.pop()
  if (lines.pop() !== "# EOF") throw new Error("the exposition does not end with # EOF")
  const reader = new Reader("unknown", openMetricsSuffixes)
  for (const [index, line] of lines.entries()) located(index, line, () => readOpenMetricsLine(reader, line))
  return checked(reader.families, openMetricsSuffixes, checkOpenMetricsFamily, options)
}

type Suffixes = ReadonlyMap<string, ReadonlyArray<string>>

const textSuffixes: Suffixes = new Map([
  ["counter", [""]],
  ["gauge", [""]],
  ["untyped", [""]],
  ["histogram", ["_bucket", "_sum", "_count"]],
  ["summary", ["", "_sum", "_count"]]
])

const openMetricsSuffixes: Suffixes = new Map([
  ["counter", ["_total", "_created"]],
  ["gauge", [""]],
  ["unknown", [""]],
  ["histogram", ["_bucket", "_sum", "_count", "_created"]],
  ["summary", ["", "_sum", "_count", "_created"]]
])

const linesOf = (body: string): Array<string> => {
  if (/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/.test(body)) {
    throw new Error("a lone surrogate cannot be written in UTF-8")
  }
  if (body.startsWith("\ufeff")) throw new Error("the exposition begins with a byte order mark")
  return body.split("\n")
}

const located = (index: number, line: string, read: () => void): void => {
  try {
    read()
  } catch (error) {
    throw new Error(`line ${index + 1}, ${JSON.stringify(line)}: ${error instanceof Error ? error.message : error}`)
  }
}

interface Draft {
  readonly name: string
  readonly metadata: Map<string, string>
  readonly type: string
  readonly samples: Array<Sample>
}

/** Puts lines together to families; lines of one family that are not adjacent are refused. */
class Reader {
  readonly families: Array<Draft & { type: string }> = []

  constructor(
    private readonly untyped: string,
    private readonly suffixes: Suffixes
  ) {}

  metadata(keyword: string, name: string, value: string): void {
    const last = this.families.at(-1)
    const family = last?.name === name ? last : this.begin(name)
    if (family.samples.length > 0) fail(`${keyword} of ${name} comes after its samples`)
    if (family.metadata.has(keyword)) fail(`a second ${keyword} of ${name}`)
    family.metadata.set(keyword, value)
    if (keyword !== "TYPE") return
    if (!this.suffixes.has(value)) fail(`there is no type ${value}`)
    family.type = value
  }

  sample(sample: Sample): void {
    const last = this.families.at(-1)
    const belongs = last !== undefined && sampleNames(last, this.suffixes).includes(sample.name)
    const family = belongs ? last : this.begin(sample.name)
    family.samples.push(sample)
  }

  private begin(name: string): Draft & { type: string } {
    if (this.families.some((family) => family.name === name)) fail(`the family ${name} was there before`)
    const family = { name, metadata: new Map<string, string>(), type: this.untyped, samples: [] }
    this.families.push(family)
    return family
  }
}

const sampleNames = ({ name, type }: Draft, suffixes: Suffixes): ReadonlyArray<string> =>
  (suffixes.get(type) ?? []).map((suffix) => `${name}${suffix}`)

const checked = (
  drafts: ReadonlyArray<Draft>,
  suffixes: Suffixes,
  check: (family: Family) => void,
  { mayClash = false }: ReadOptions
): ReadonlyArray<Family> => {
  const owners = new Map<string, string>()
  return drafts.map((draft) => {
    for (const name of sampleNames(draft, suffixes)) {
      const owner = owners.get(name)
      if (owner !== undefined && !mayClash) fail(`both ${owner} and ${draft.name} may have samples called ${name}`)
      owners.set(name, draft.name)
    }
    const { name, type, samples } = draft
    const family = { name, type, help: draft.metadata.get("HELP") ?? "", samples }
    checkSeries(family)
    check(family)
    return family
  })
}

const readTextLine = (reader: Reader, line: string): void => {
  const trimmed = line.replace(/^[ \t]+|[ \t]+$/g, "")
  if (trimmed === "") return
  if (!trimmed.startsWith("#")) {
    reader.sample(readTextSample(trimmed))
    return
  }
  const [, keyword, rest = ""] = /^#[ \t]*(HELP|TYPE)(?:[ \t]+(.*))?$/su.exec(trimmed) ?? []
  if (keyword === undefined) return
  const [, name = "", value = ""] = /^([^ \t]+)(?:[ \t]+(.*))?$/su.exec(rest) ?? []
  if (!isMetricName(name)) fail(`${name} is not a metric name`)
  reader.metadata(keyword, name, keyword === "HELP" ? unescaped(value, "\\n") : value)
}

const readTextSample = (line: string): Sample => {
  const scanner = new Scanner(line)
  const name = scanner.metricName()
  scanner.skip(/[ \t]*/y)
  const labels = scanner.labels({ blanks: /[ \t]*/y, trailingComma: true })
  scanner.skip(/[ \t]*/y)
  const [value = "", timestamp, ...more] = scanner.rest().split(/[ \t]+/)
  if (more.length > 0) fail("there is more after the timestamp")
  if (timestamp !== undefined && !/^-?[0-9]+$/.test(timestamp)) fail(`${timestamp} is not a timestamp`)
  return {
    name,
    labels: labels ?? new Map(),
    value: toNumber(value),
    timestamp: timestamp === undefined ? undefined : Number(timestamp),
    exemplar: undefined
  }
}

const readOpenMetricsLine = (reader: Reader, line: string): void => {
  if (!line.startsWith("#")) {
    reader.sample(readOpenMetricsSample(line))
    return
  }
  const [, keyword = "", name = "", value = ""] = /^# (HELP|TYPE|UNIT) ([^ ]+) (.*)$/su.exec(line) ?? []
  if (keyword === "") fail("a line that begins with # is neither metadata nor the end")
  if (!isMetricName(name)) fail(`${name} is not a metric name`)
  if (keyword === "UNIT" && value !== "" && !name.endsWith(`_${value}`)) fail(`the unit of ${name} is no suffix of it`)
  reader.metadata(keyword, name, keyword === "HELP" ? unescapeQuoted(value) : value)
}

const readOpenMetricsSample = (line: string): Sample => {
  const scanner = new Scanner(line)
  const name = scanner.metricName()
  const labels = scanner.labels() ?? new Map<string, string>()
  scanner.expect(" ")
  const value = toNumber(scanner.word())
  const timestamp = scanner.timestamp()
  const exemplar = scanner.take(" # ") ? readExemplar(scanner) : undefined
  if (scanner.rest() !== "") fail(`there is more after the sample: ${scanner.rest()}`)
  return { name, labels, value, timestamp, exemplar }
}

const readExemplar = (scanner: Scanner): Exemplar => {
  const labels = scanner.labels() ?? fail("an exemplar has no labels, not even {}")
  scanner.expect(" ")
  const value = toNumber(scanner.word())
  const timestamp = scanner.timestamp()
  const length = [...labels].reduce((sum, [name, text]) => sum + [...name].length + [...text].length, 0)
  if (length > 128) fail(`the labels of an exemplar have ${length} characters, more than 128`)
  return { labels, value, timestamp }
}
