/** Selects the format and the encoding that a request asks for (RFC 9110, sections 12.4.2, 12.5.1 and 12.5.3). */
import { defaultFormat, type Format, formatNames, formats } from "./formats.js"

interface Range {
  readonly value: string
  readonly version: string | undefined
  readonly quality: number
  readonly position: number
}

/** At equal quality, the first format in the header. If it accepts or prefers none: the default format. */
export const negotiate = (accept: string | undefined): Format => {
  const ranges = parse(accept, mediaTypes)
  let best = { format: defaultFormat, range: preference(ranges, defaultFormat) }
  for (const format of formatNames) {
    const range = preference(ranges, format)
    if (format !== defaultFormat && range !== undefined && isPreferred(range, best.range)) best = { format, range }
  }
  return best.format
}

const isPreferred = (range: Range, best: Range | undefined): boolean => {
  if (range.quality === 0 || best === undefined) return range.quality > 0
  return range.quality > best.quality || (range.quality === best.quality && range.position < best.position)
}

/** At equal quality the first one. Undefined if the header is missing or accepts none. */
export const preferred = <A extends { readonly names: ReadonlyArray<string> }>(choices: ReadonlyArray<A>) => {
  const known = vocabulary([...choices.flatMap(({ names }) => names), "*"])
  return (header: string | undefined): A | undefined => {
    const ranges = parse(header, known)
    const qualityOf = ({ names }: A): number =>
      (ranges.find(({ value }) => names.includes(value)) ?? ranges.find(({ value }) => value === "*"))?.quality ?? 0
    const highest = Math.max(...choices.map(qualityOf))
    return highest > 0 ? choices.find((choice) => qualityOf(choice) === highest) : undefined
  }
}

/** A header that accepts any type does not. */
export const asksForHtml = (accept: string | undefined): boolean =>
  parse(accept, mediaTypes).some(({ value, quality }) => value === "text/html" && quality > 0)

// The most specific range decides: media type with version, media type, `text/*`, `*`.
const preference = (ranges: ReadonlyArray<Range>, format: Format): Range | undefined => {
  const { mediaType, version } = formats[format]
  const ofType = ranges.filter((range) => range.value === mediaType)
  const candidates = [
    ofType.filter((range) => range.version === version),
    ofType.filter((range) => range.version === undefined),
    ranges.filter((range) => range.value === wildcardOf(mediaType)),
    ranges.filter((range) => range.value === "*/*")
  ]
  return candidates
    .find((matches) => matches.length > 0)
    ?.reduce((best, range) => (range.quality > best.quality ? range : best))
}

const wildcardOf = (mediaType: string): string => `${mediaType.slice(0, mediaType.indexOf("/"))}/*`

interface Vocabulary {
  readonly values: ReadonlySet<string>
  readonly lengths: ReadonlySet<number>
}

const vocabulary = (values: ReadonlyArray<string>): Vocabulary => ({
  values: new Set(values),
  lengths: new Set(values.map(({ length }) => length))
})

const mediaTypes = vocabulary([
  ...Object.values(formats).flatMap(({ mediaType }) => [mediaType, wildcardOf(mediaType)]),
  ...["text/html", "*/*"]
])

/** Positions in the header, which become strings when the range ends. */
interface Draft {
  readonly value: string
  quality: Place | undefined
  version: Place | undefined
}

type Place = readonly [start: number, end: number]

// Any client may send thousands of ranges. The header is read once, and only the relevant parts become strings.
const parse = (header = "", known: Vocabulary): ReadonlyArray<Range> => {
  const ranges: Array<Range> = []
  let position = 0
  let start = 0
  let isBegun = false
  let draft: Draft | undefined
  for (let at = 0; at <= header.length; ) {
    const end = endOfPart(header, at)
    if (end > at && isBegun && draft !== undefined) readParameter(draft, header, at, end)
    else if (end > at && !isBegun) {
      draft = draftOf(header, known, at, end)
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

// The next separator outside of a quoted string, or the end of the header.
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

const draftOf = (header: string, { lengths, values }: Vocabulary, from: number, to: number): Draft | undefined => {
  const start = afterBlanks(header, from, to)
  const end = beforeBlanks(header, start, to)
  const value = lengths.has(end - start) ? header.slice(start, end).toLowerCase() : ""
  return values.has(value) ? { value, quality: undefined, version: undefined } : undefined
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

// A range with an invalid weight is ignored.
const parseQuality = (text: string | undefined): number | undefined => {
  if (text === undefined) return 1
  return /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(text) ? Number(text) : undefined
}
