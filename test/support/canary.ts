/** A secret that is looked for in all that comes out, and the shapes that it comes in. */
import { inspect } from "node:util"
import { Cause, Effect, Exit, Logger, LogLevel, Redacted } from "effect"

/** No piece of it is in any file name or message of the library. */
export const canary = "Zx9QvK3wHj7Lp2Tn"

/** The same for options that must be a number. */
export const digits = "86753094217"

const pieceLength = 6

const windows = (text: string, length: number): ReadonlyArray<string> =>
  Array.from({ length: text.length - length + 1 }, (_, index) => text.slice(index, index + length))

// At each of the three places where a group of base64 can begin, without characters that hold bits of what is beside.
const inBase64 = (piece: string): ReadonlyArray<string> =>
  [0, 1, 2].map((before) => {
    const text = Buffer.from("\0".repeat(before) + piece).toString("base64")
    return text.slice(Math.ceil((before * 8) / 6), Math.floor(((before + piece.length) * 8) / 6))
  })

const needles: ReadonlyArray<readonly [string, string]> = [canary, digits].flatMap((secret) =>
  windows(secret, pieceLength).flatMap((piece) => {
    const bytes = [...Buffer.from(piece)]
    const hex = bytes.map((byte) => byte.toString(16).padStart(2, "0"))
    return [
      piece,
      piece.toLowerCase(),
      hex.join(""),
      hex.join(" "),
      hex.map((byte) => `%${byte}`).join(""),
      bytes.join(","),
      bytes.join(", "),
      ...inBase64(piece)
    ].map((form) => [piece, form] as const)
  })
)

/** The pieces of six letters that are in a text, however they are encoded. */
export const piecesIn = (text: string): ReadonlyArray<string> => {
  const lower = text.toLowerCase()
  return [...new Set(needles.filter(([, form]) => text.includes(form) || lower.includes(form)).map(([piece]) => piece))]
}

const attempted = (act: () => unknown): string => {
  try {
    return String(act())
  } catch {
    return ""
  }
}

/** All text that a value shows when it is printed. */
export const visibleText = (given: unknown, known = new Set<unknown>()): string => {
  if (known.has(given) || known.size > 100) return ""
  known.add(given)
  const all = [
    attempted(() => given),
    attempted(() => inspect(given, { depth: Number.POSITIVE_INFINITY, showHidden: true, maxArrayLength: null })),
    attempted(() => JSON.stringify(given)),
    ...(Cause.isCause(given) ? [Cause.pretty(given), Cause.pretty(given, { renderErrorCause: true })] : [])
  ]
  if (given instanceof Error) {
    all.push(given.message, given.stack ?? "", ...Object.values(given).map((value) => visibleText(value, known)))
    all.push(visibleText(given.cause, known), given instanceof AggregateError ? visibleText(given.errors, known) : "")
  }
  return all.join("\n")
}

/** A log in every format that Effect has, at every level. */
export const fullLog = () => {
  const lines: Array<string> = []
  const keep = <A>(logger: Logger.Logger<unknown, A>) =>
    Logger.map(logger, (line) => void lines.push(visibleText(line)))
  const raw = Logger.make(({ annotations, cause, message, spans }) => {
    lines.push(visibleText(message), visibleText(cause), visibleText([...annotations]), visibleText([...spans]))
  })
  const all = [
    keep(Logger.stringLogger),
    keep(Logger.logfmtLogger),
    keep(Logger.jsonLogger),
    keep(Logger.structuredLogger)
  ].reduce<Logger.Logger<unknown, void>>((one, other) => Logger.map(Logger.zip(one, other), () => {}), raw)
  const inPlace = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Logger.withMinimumLogLevel(LogLevel.All), Effect.provide(Logger.replace(Logger.defaultLogger, all)))
  return { lines, inPlace }
}

/** All output of an effect: its exit, and its log. */
export const outputOf = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<string> =>
  Effect.suspend(() => {
    const { inPlace, lines } = fullLog()
    return Effect.map(inPlace(Effect.exit(effect)), (exit) =>
      [
        ...lines,
        visibleText(exit),
        ...(Exit.isFailure(exit) ? [visibleText(exit.cause), visibleText(Cause.squash(exit.cause))] : [])
      ].join("\n")
    )
  })

export const pem = (content: string, kind = "PRIVATE KEY"): string =>
  `-----BEGIN ${kind}-----\n${content}\n-----END ${kind}-----\n`

const key = pem(`${canary}${canary}`)
const base64 = (text: string): string => Buffer.from(text).toString("base64")

class Holder {
  readonly value = canary
  toString(): string {
    return canary
  }
  toJSON(): string {
    return canary
  }
  get [Symbol.toStringTag](): string {
    return canary
  }
}

/** Texts with the secret, as they come out of files and variables. */
export const texts: Readonly<Record<string, string>> = {
  "a short text": canary,
  "its base64": base64(key),
  "its base64 with a mark": `base64:${base64(key)}`,
  "its base64 in quotes": `"${base64(key)}"`,
  "its base64 in lines": base64(key.repeat(3)).replace(/.{64}/g, "$&\n"),
  "its base64 without end": base64(key.repeat(20)),
  "a data URI": `data:application/x-pem-file;base64,${base64(key)}`,
  "URL-encoded PEM": encodeURIComponent(key),
  "PEM with literal line ends": key.replaceAll("\n", "\\n"),
  "PEM in quotes": `"${key}"`,
  "PEM in one line": key.replaceAll("\n", " "),
  "PEM without its first line": key.split("\n").slice(1).join("\n"),
  "PEM of another kind": pem(canary, "CERTIFICATE"),
  "PEM that is broken": key,
  "PEM with a semicolon": `${key};`,
  "JSON text": JSON.stringify({ key, token: canary }),
  "a text with a semicolon": `${canary};`,
  "a text in quotes": `'${canary}'`,
  "a variable that was not put in": `\${${canary}}`,
  "an assignment": `TOKEN=${canary}`,
  "a user and a password": `user:${canary}`,
  "a URL with a password": `http://user:${canary}@127.0.0.1:1/`,
  "a URL with an encoded password": `http://user:${canary}%40127.0.0.1:1`,
  "an invalid URL": `http://user:${canary}:127.0.0.1`,
  "a URL with a token": `http://127.0.0.1:1/?token=${canary}`,
  "a bearer": `Bearer ${canary}`,
  "a text with a dot": `${canary}.${canary}`,
  "a text with a slash": `${canary}/${canary}`,
  "a file name": `${canary}.pem`,
  "a text with spaces": ` ${canary} ${canary} `,
  "a text with a line end": `${canary}\n`,
  "a text with NUL": `${canary}\0`,
  "a text with an escape": `\u001b[31m${canary}\u001b[0m`,
  "a text beyond Latin-1": `${canary}→✓`,
  "half of a character": `${canary}\ud83d`,
  "a text that is long": canary.repeat(1_000)
}

/** The same as values of other types, and redacted. */
export const shapes: Readonly<Record<string, unknown>> = {
  ...texts,
  ...Object.fromEntries(Object.entries(texts).map(([name, text]) => [`${name}, redacted`, Redacted.make(text)])),
  "a text redacted twice": Redacted.make(Redacted.make(canary)),
  "a number": Number(digits),
  "a big number": BigInt(digits),
  "a list": [canary],
  "a list of redacted": [Redacted.make(canary)],
  "an object": { key: canary },
  "an object called so": { [canary]: canary },
  "a text object": Object(canary),
  bytes: Buffer.from(canary),
  "an array of bytes": new Uint8Array(Buffer.from(canary)),
  "a function": () => "Zx9QvK3wHj7Lp2Tn",
  "an instance": new Holder(),
  "a map": new Map([[canary, canary]]),
  "a set": new Set([canary]),
  "a symbol": Symbol(canary),
  "a URL": new URL(`https://user:${canary}@localhost/?token=${canary}`),
  "headers of fetch": new Headers({ authorization: canary }),
  "an error": new Error(canary),
  "an object that throws": new Proxy({}, throwing()),
  "an object without a prototype": Object.assign(Object.create(null), { key: canary }),
  "a redacted number": Redacted.make(Number(digits)),
  "a redacted list": Redacted.make([canary]),
  "a redacted object": Redacted.make({ key: canary }),
  "redacted bytes": Redacted.make(Buffer.from(canary)),
  true: true,
  null: null,
  "an empty text": "",
  "a redacted nothing": Redacted.make(undefined)
}

function throwing(): ProxyHandler<object> {
  const fail = (): never => {
    throw new Error("not this way")
  }
  return { get: fail, has: fail, ownKeys: fail, getPrototypeOf: fail, getOwnPropertyDescriptor: fail }
}
