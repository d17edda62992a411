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
  readonly parameters: ReadonlyMap<string, string>
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
    ofType.filter(({ parameters }) => parameters.get("version") === version),
    ofType.filter(({ parameters }) => !parameters.has("version")),
    ranges.filter((range) => range.value === wildcard),
    ranges.filter((range) => range.value === "*/*")
  ]
  return candidates
    .find((matches) => matches.length > 0)
    ?.reduce((best, range) => (range.quality > best.quality ? range : best))
}

const parse = (header: string | undefined): ReadonlyArray<Range> => {
  if (header === undefined) return []
  return split(header, ",").flatMap((part, position) => {
    const [value = "", ...rest] = split(part, ";").map((piece) => piece.trim())
    const parameters = new Map(rest.map(parameter))
    const quality = parseQuality(parameters.get("q"))
    return quality === undefined ? [] : [{ value: value.toLowerCase(), parameters, quality, position }]
  })
}

// At each separator that does not stand in a quoted string.
const split = (text: string, separator: "," | ";"): ReadonlyArray<string> =>
  text.match(separator === "," ? /(?:"(?:\\.|[^"\\])*"?|[^,"])+/g : /(?:"(?:\\.|[^"\\])*"?|[^;"])+/g) ?? []

const parameter = (text: string): readonly [string, string] => {
  const [name = "", ...value] = text.split("=")
  return [
    name.trim().toLowerCase(),
    value
      .join("=")
      .trim()
      .replace(/^"(.*)"$/, "$1")
  ]
}

// A weight that is none makes the range one that nobody can have meant.
const parseQuality = (text: string | undefined): number | undefined => {
  if (text === undefined) return 1
  return /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(text) ? Number(text) : undefined
}
