/** Which format and which encoding a request asks for (RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3). */

/** The two formats: Prometheus' text format 0.0.4 and OpenMetrics 1.0.0. */
export type Format = "text" | "openmetrics"

/** What each is called in `Content-Type`. Prometheus 3 refuses a scrape that does not name one that it knows. */
export const contentTypes: { readonly [F in Format]: string } = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
}

const mediaTypes: { readonly [F in Format]: { readonly type: string; readonly version: string } } = {
  text: { type: "text/plain", version: "0.0.4" },
  openmetrics: { type: "application/openmetrics-text", version: "1.0.0" }
}

interface Range {
  readonly value: string
  readonly version: string | undefined
  readonly quality: number
  readonly position: number
}

/**
 * The format for an `Accept` header: OpenMetrics if it is asked for above text, or as much as text and before it; text
 * in every other case, so a header that is missing, malformed, or accepts neither gets text.
 */
export const negotiate = (accept: string | undefined): Format => {
  const ranges = parse(accept)
  const openmetrics = preference(ranges, "openmetrics")
  const text = preference(ranges, "text")
  if (openmetrics === undefined || openmetrics.quality === 0) return "text"
  if (text === undefined || openmetrics.quality > text.quality) return "openmetrics"
  return openmetrics.quality === text.quality && openmetrics.position < text.position ? "openmetrics" : "text"
}

/** Whether an `Accept-Encoding` header asks for gzip. Without a header nothing is encoded. */
export const acceptsGzip = (acceptEncoding: string | undefined): boolean => {
  const ranges = parse(acceptEncoding)
  const gzip = ranges.find(({ value }) => value === "gzip" || value === "x-gzip") ?? ranges.find((r) => r.value === "*")
  return gzip !== undefined && gzip.quality > 0
}

/** Whether an `Accept` header names HTML, as those of browsers do. One that takes anything does not. */
export const asksForHtml = (accept: string | undefined): boolean =>
  parse(accept).some(({ value, quality }) => value === "text/html" && quality > 0)

// The range that speaks most precisely of a format decides: one with its version, its media type, its type, anything.
const preference = (ranges: ReadonlyArray<Range>, format: Format): Range | undefined => {
  const { type, version } = mediaTypes[format]
  const wildcard = `${type.slice(0, type.indexOf("/"))}/*`
  const ofType = ranges.filter((range) => range.value === type)
  const candidates = [
    ofType.filter((range) => range.version === version),
    ofType.filter((range) => range.version === undefined),
    ranges.filter((range) => range.value === wildcard),
    ranges.filter((range) => range.value === "*/*")
  ]
  return candidates
    .find((matches) => matches.length > 0)
    ?.reduce((best, range) => (range.quality > best.quality ? range : best))
}

// Those that are asked for by somebody here.
const known: ReadonlySet<string> = new Set([
  ...["text/plain", "text/html", "text/*", "application/openmetrics-text", "application/*", "*/*"],
  ...["gzip", "x-gzip", "*"]
])
const lengths: ReadonlySet<number> = new Set([...known].map(({ length }) => length))

/** A range as it is read: places in the header, of which text is made once it is over. */
interface Draft {
  readonly value: string
  quality: Place | undefined
  version: Place | undefined
}

type Place = readonly [start: number, end: number]

// A header can have thousands of ranges and parameters, and everybody may send one. It is gone through once, and text is
// made of what matters alone.
const parse = (header = ""): ReadonlyArray<Range> => {
  const ranges: Array<Range> = []
  let position = 0
  let start = 0
  let isBegun = false
  let draft: Draft | undefined
  for (let at = 0; at <= header.length; ) {
    const end = endOfPart(header, at)
    if (end > at && isBegun && draft !== undefined) readParameter(draft, header, at, end)
    else if (end > at && !isBegun) {
      draft = draftOf(header, at, end)
      isBegun = true
    }
    at = end + 1
    if (end < header.length && header.charCodeAt(end) !== comma) continue
    const range = draft && rangeOf(draft, header, position)
    if (range !== undefined) ranges.push(range)
    if (end > start) position += 1
    draft = undefined
    isBegun = false
    start = at
  }
  return ranges
}

const quote = 34
const comma = 44
const semicolon = 59
const equals = 61
const backslash = 92

// Where the next separator is that does not stand in a quoted string, or the end.
const endOfPart = (header: string, from: number): number => {
  let isQuoted = false
  for (let at = from; at < header.length; at += 1) {
    const code = header.charCodeAt(at)
    if (code === quote) isQuoted = !isQuoted
    else if (isQuoted && code === backslash) at += 1
    else if (!isQuoted && (code === comma || code === semicolon)) return at
  }
  return header.length
}

const isBlank = (code: number): boolean => code === 32 || code === 9

const afterBlanks = (header: string, from: number, to: number): number => {
  let at = from
  while (at < to && isBlank(header.charCodeAt(at))) at += 1
  return at
}

const beforeBlanks = (header: string, from: number, to: number): number => {
  let at = to
  while (at > from && isBlank(header.charCodeAt(at - 1))) at -= 1
  return at
}

const draftOf = (header: string, from: number, to: number): Draft | undefined => {
  const start = afterBlanks(header, from, to)
  const end = beforeBlanks(header, start, to)
  const value = lengths.has(end - start) ? header.slice(start, end).toLowerCase() : ""
  return known.has(value) ? { value, quality: undefined, version: undefined } : undefined
}

const names = { quality: "q", version: "version" } as const

const readParameter = (draft: Draft, header: string, from: number, to: number): void => {
  const start = afterBlanks(header, from, to)
  const field = header.charCodeAt(start) === 113 || header.charCodeAt(start) === 81 ? "quality" : "version"
  const nameEnd = start + names[field].length
  const after = afterBlanks(header, nameEnd, to)
  if (nameEnd > to || (after < to && header.charCodeAt(after) !== equals)) return
  if (field === "version" && header.slice(start, nameEnd).toLowerCase() !== names.version) return
  draft[field] = [Math.min(after + 1, to), to]
}

const rangeOf = ({ quality, value, version }: Draft, header: string, position: number): Range | undefined => {
  const weight = parseQuality(quality && textAt(header, quality))
  if (weight === undefined) return undefined
  return { value, version: version && textAt(header, version), quality: weight, position }
}

const textAt = (header: string, [start, end]: Place): string =>
  header
    .slice(start, end)
    .trim()
    .replace(/^"(.*)"$/, "$1")

// A weight that is none makes the range one that nobody can have meant.
const parseQuality = (text: string | undefined): number | undefined => {
  if (text === undefined) return 1
  return /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(text) ? Number(text) : undefined
}
