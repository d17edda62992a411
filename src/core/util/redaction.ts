/** Removes secrets and control characters from the texts of other programs, which may repeat what was sent to them. */
import { getOrInsert } from "./getOrInsert.js"

// In characters. A piece of three letters reveals nothing, and occurs in every text.
const shortestPiece = 6

// The same for hexadecimal digits: two digits are one byte.
const shortestHex = 10

// How much of a text is read, and how much of that is shown, in characters.
const mostRead = 4_096
const mostShown = 500

// Terminals interpret the whole sequence as a command.
const terminalSequence = new RegExp(`${String.fromCharCode(27)}\\[[0-?]*[ -/]*[@-~]`, "g")
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu
const space = /[\s\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

const replacement = "<redacted>"

/** One line of at most 500 characters. Hides secrets in plain form, JSON, base64, URLs and hex, in any letter case. */
export const harmless = (text: string, secrets: ReadonlyArray<string>): string => {
  const read = text.slice(0, mostRead).replace(terminalSequence, "")
  const line = withoutSecrets(read, secrets).replace(invisible, " ").trim()
  return line.length <= mostShown && text.length <= mostRead
    ? line
    : `${line.slice(0, mostShown)}… (${text.length} characters)`
}

interface Form {
  readonly text: string
  readonly shortest: number
}

const withoutSecrets = (text: string, secrets: ReadonlyArray<string>): string => {
  const forms = secrets.flatMap(formsOf)
  if (forms.length === 0) return text
  // Spaces and line ends are skipped, so that secrets across line breaks are found.
  const places: Array<number> = []
  let packed = ""
  for (let at = 0; at < text.length; at += 1) {
    const character = text.charAt(at)
    if (space.test(character)) continue
    places.push(at)
    packed += folded(character)
  }
  const hidden = new Uint8Array(text.length)
  for (const [length, pieces] of piecesOf(forms)) {
    for (let start = 0; start + length <= packed.length; start += 1) {
      if (!pieces.has(packed.slice(start, start + length))) continue
      hidden.fill(1, places[start] ?? 0, (places[start + length - 1] ?? 0) + 1)
    }
  }
  return replaced(text, hidden)
}

const replaced = (text: string, hidden: Uint8Array): string => {
  let left = ""
  for (let at = 0; at < text.length; at += 1) {
    if (hidden[at] === 0) left += text.charAt(at)
    else if (at === 0 || hidden[at - 1] === 0) left += replacement
  }
  return left
}

// By length. A piece is as long as the shortest hidden piece of its form, or the whole form if that is shorter.
const piecesOf = (forms: ReadonlyArray<Form>): Map<number, Set<string>> => {
  const pieces = new Map<number, Set<string>>()
  for (const { text, shortest } of forms) {
    const length = Math.min(text.length, shortest)
    const known = getOrInsert(pieces, length, () => new Set())
    for (let start = 0; start + length <= text.length; start += 1) known.add(text.slice(start, start + length))
  }
  return pieces
}

const formsOf = (secret: string): ReadonlyArray<Form> => {
  if (secret === "") return []
  const inJson = JSON.stringify(secret).slice(1, -1)
  // Go escapes these characters as well.
  const inGo = inJson.replace(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`)
  const bytes = Buffer.from(secret)
  const texts = [secret, inJson, inGo, inAscii(inJson), inUrl(secret), ...inBase64(bytes)]
  return [
    ...texts.map((text) => ({ text: packedForm(text), shortest: shortestPiece })),
    { text: bytes.toString("hex"), shortest: shortestHex }
  ].filter(({ text }) => text !== "")
}

const packedForm = (text: string): string => folded([...text].filter((character) => !space.test(character)).join(""))

// Only ASCII letters: other letters can be longer in lower case, which would shift the positions.
const folded = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

const inAscii = (inJson: string): string =>
  inJson.replace(/[\u0080-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

const inUrl = (secret: string): string => encodeURIComponent(secret.replace(/\p{Cs}/gu, ""))

// One form for each offset in a base64 group, without the characters that contain bits of neighbouring text.
const inBase64 = (bytes: Buffer): ReadonlyArray<string> =>
  [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString("base64")
      .replace(/=+$/, "")
    const whole = Math.floor(((before + bytes.byteLength) * 8) / 6)
    const own = text.slice(Math.ceil((before * 8) / 6), whole)
    // A shorter text would be found everywhere.
    return own.length < 4 ? [] : [own, own.replaceAll("+", "-").replaceAll("/", "_")]
  })
