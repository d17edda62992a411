/**
 * A parser of the text format 0.0.4. It also accepts OpenMetrics (exemplars and timestamps are skipped). An invalid line
 * is reported and left out, and parsing continues.
 */

/** The labels of a series, in their order. */
export type Labels = ReadonlyArray<readonly [name: string, value: string]>

/** Receives the content of an exposition, line by line. */
export interface Sink {
  readonly help: (name: string, text: string) => void
  readonly type: (name: string, type: string) => void
  /** `key` is the series as written, its name and `{…}`: the same text for the same series in each exposition. */
  readonly sample: (key: string, nameLength: number, value: number) => void
  /** An invalid line. */
  readonly unread: () => void
}

const lineFeed = 10
const tab = 9
const space = 32
const quote = 34
const hash = 35
const openingBrace = 123
const closingBrace = 125
const backslash = 92

// The number of lines that are parsed between two checks of the clock.
const atOnce = 256

/** Parses all of it, and yields every few hundred lines, so that the caller can yield to the event loop. */
export function* reading(text: string, sink: Sink): Generator<void, void> {
  let lines = 0
  for (let start = 0; start < text.length; lines += 1) {
    const found = text.indexOf("\n", start)
    const end = found === -1 ? text.length : found
    readLine(text, start, end, sink)
    start = end + 1
    if (lines % atOnce === atOnce - 1) yield
  }
}

const readLine = (text: string, from: number, to: number, sink: Sink): void => {
  const start = afterBlanks(text, from, to)
  if (start === to) return
  if (text.charCodeAt(start) === hash) readComment(text.slice(start, beforeBlanks(text, start, to)), sink)
  else readSample(text, start, to, sink)
}

const readSample = (text: string, start: number, to: number, sink: Sink): void => {
  const nameEnd = endOfName(text, start, to)
  const after = afterBlanks(text, nameEnd, to)
  const hasLabels = text.charCodeAt(after) === openingBrace && after < to
  const keyEnd = hasLabels ? endOfLabels(text, after + 1, to) : nameEnd
  const value = keyEnd === -1 ? undefined : readValue(text, keyEnd, to)
  if (nameEnd === start || value === undefined) sink.unread()
  else sink.sample(text.slice(start, keyEnd), nameEnd - start, value)
}

const readComment = (line: string, sink: Sink): void => {
  const [, keyword, name = "", text = ""] = /^#[ \t]+(HELP|TYPE)[ \t]+([^ \t]+)[ \t]*(.*)$/s.exec(line) ?? []
  if (keyword === "HELP") sink.help(name, unescaped(text))
  else if (keyword === "TYPE") sink.type(name, text)
}

const isBlank = (code: number): boolean => code === space || code === tab

const afterBlanks = (text: string, from: number, to: number): number => {
  let at = from
  while (at < to && isBlank(text.charCodeAt(at))) at += 1
  return at
}

const beforeBlanks = (text: string, from: number, to: number): number => {
  let at = to
  while (at > from && isBlank(text.charCodeAt(at - 1))) at -= 1
  return at
}

const endOfName = (text: string, from: number, to: number): number => {
  let at = from
  for (; at < to; at += 1) {
    const code = text.charCodeAt(at)
    if (code === openingBrace || isBlank(code)) break
  }
  return at
}

// Braces, commas and spaces in a value belong to the value. -1 if the end is missing.
const endOfLabels = (text: string, from: number, to: number): number => {
  let isQuoted = false
  for (let at = from; at < to; at += 1) {
    const code = text.charCodeAt(at)
    if (code === quote) isQuoted = !isQuoted
    else if (code === backslash && isQuoted) at += 1
    else if (code === closingBrace && !isQuoted) return at + 1
  }
  return -1
}

const readValue = (text: string, from: number, to: number): number | undefined => {
  const start = afterBlanks(text, from, to)
  let end = start
  while (end < to && !isBlank(text.charCodeAt(end))) end += 1
  return toNumber(text.slice(start, end))
}

const special: ReadonlyMap<string, number> = new Map([
  ["nan", Number.NaN],
  ["inf", Number.POSITIVE_INFINITY],
  ["+inf", Number.POSITIVE_INFINITY],
  ["-inf", Number.NEGATIVE_INFINITY]
])

/** A number as written in an exposition, also in `le` and `quantile`; `undefined` if it is invalid. */
export const toNumber = (text: string): number | undefined => {
  const value = Number(text)
  if (!Number.isNaN(value) && text !== "" && text.charCodeAt(text.length - 1) !== lineFeed) {
    // `Infinity`, as JavaScript writes it, is invalid here.
    return text.endsWith("Infinity") ? undefined : value
  }
  return special.get(text.toLowerCase())
}

// A value is scanned by hand: a regular expression needs memory in proportion to its length.
const beforeValue = /[ \t]*([^={}", \t]+)[ \t]*=[ \t]*"/y
const afterValue = /[ \t]*(?:,|$)/y

/** The labels in a key, without invalid ones. */
export const labelsOf = (key: string, nameLength: number): Labels => {
  const open = key.indexOf("{", nameLength)
  if (open === -1) return []
  const inside = key.slice(open + 1, -1)
  const labels: Array<readonly [string, string]> = []
  for (let at = 0; at < inside.length; at = afterValue.lastIndex) {
    beforeValue.lastIndex = at
    const [, name] = beforeValue.exec(inside) ?? []
    const start = beforeValue.lastIndex
    const end = endOfValue(inside, start)
    afterValue.lastIndex = end + 1
    if (name === undefined || !afterValue.test(inside)) break
    labels.push([name, unescaped(inside.slice(start, end))])
  }
  return labels
}

// The position of the closing quotation mark, or the end of the text.
const endOfValue = (text: string, from: number): number => {
  let at = from
  while (at < text.length && text.charCodeAt(at) !== quote) at += text.charCodeAt(at) === backslash ? 2 : 1
  return at
}

const unescaped = (text: string): string =>
  text.includes("\\") ? text.replace(/\\([\\"n])/g, (_, character) => (character === "n" ? "\n" : character)) : text
