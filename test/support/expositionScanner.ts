/** The tokens of lines in both exposition formats. */

/** Throws a parse error. */
export const fail = (message: string): never => {
  throw new Error(message)
}

/** Goes through a line from left to right. */
export class Scanner {
  private position = 0

  constructor(private readonly line: string) {}

  metricName(): string {
    return this.match(/[a-zA-Z_:][a-zA-Z0-9_:]*/y) ?? fail("a sample does not begin with a metric name")
  }

  /** The labels in braces, or undefined where there are no braces. */
  labels({ blanks = /(?:)/y, trailingComma = false } = {}): ReadonlyMap<string, string> | undefined {
    if (!this.take("{")) return undefined
    const labels = new Map<string, string>()
    this.skip(blanks)
    while (!this.take("}")) {
      if (labels.size > 0) {
        this.expect(",")
        this.skip(blanks)
        if (trailingComma && this.take("}")) return labels
      }
      const name = this.match(/[a-zA-Z_][a-zA-Z0-9_]*/y) ?? fail("there is no label name where one belongs")
      this.skip(blanks)
      this.expect("=")
      this.skip(blanks)
      const quoted = this.match(/"(?:[^"\\]|\\.)*"/suy) ?? fail(`the value of the label ${name} is not quoted`)
      if (labels.has(name)) fail(`the label ${name} is there twice`)
      labels.set(name, unescapeQuoted(quoted.slice(1, -1)))
      this.skip(blanks)
    }
    return labels
  }

  timestamp(): number | undefined {
    const text = this.match(/ [^ #]+/y)?.slice(1)
    if (text === undefined) return undefined
    const time = toNumber(text)
    return Number.isFinite(time) ? time : fail(`${text} is not a timestamp`)
  }

  word(): string {
    return this.match(/[^ ]+/y) ?? fail("the value is missing")
  }

  take(text: string): boolean {
    const taken = this.line.startsWith(text, this.position)
    if (taken) this.position += text.length
    return taken
  }

  expect(text: string): void {
    if (!this.take(text)) fail(`there is no ${JSON.stringify(text)} at column ${this.position + 1}`)
  }

  skip(pattern: RegExp): void {
    this.match(pattern)
  }

  rest(): string {
    return this.line.slice(this.position)
  }

  private match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.position
    const text = pattern.exec(this.line)?.[0]
    this.position += text?.length ?? 0
    return text
  }
}

export const isMetricName = (text: string): boolean => /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(text)

/** Both formats know the same escapes in label values; the help of OpenMetrics has them as well, that of text only two. */
export const unescapeQuoted = (text: string): string => unescaped(text, '\\n"')

/** Unescapes a text in which only the `known` characters can be escaped. */
export const unescaped = (text: string, known: string): string => {
  let plain = ""
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at)
    if (character === '"' && known.includes('"')) fail("a double quote is not escaped")
    if (character !== "\\") {
      plain += character
      continue
    }
    at += 1
    const escaped = text.charAt(at)
    if (escaped === "" || !known.includes(escaped)) fail(`there is no escape \\${escaped}`)
    plain += escaped === "n" ? "\n" : escaped
  }
  return plain
}

/** A number as both formats write it. */
export const toNumber = (text: string): number => {
  if (/^nan$/i.test(text)) return Number.NaN
  const infinity = /^([+-]?)inf(?:inity)?$/i.exec(text)
  if (infinity !== null) return infinity[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  if (!/^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?$/i.test(text)) fail(`${text} is not a number`)
  const value = Number(text)
  return Number.isFinite(value) ? value : fail(`${text} is out of the range of 64-bit floats`)
}
