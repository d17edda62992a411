/** Texts of another program, which may repeat what is secret: made short, harmless, and free of secrets. */

// How long a piece of a secret must be to be hidden. A piece of three letters says nothing, and is found in every text.
const shortestPiece = 6

// In hexadecimal digits a letter takes two.
const shortestHex = 10

// How much is looked at, and how much of that is shown, in characters.
const mostRead = 4_096
const mostShown = 500

// Terminals take the whole sequence for a command.
const terminalSequence = new RegExp(`${String.fromCharCode(27)}\\[[0-?]*[ -/]*[@-~]`, "g")
const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+/gu
const space = /[\s\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

const replacement = "<redacted>"

/**
 * A text without secrets, pieces of them included, in one line of at most some hundred characters. A secret is found as it
 * is, and as it is written in JSON, base64, URLs and hexadecimal digits, in any case, also where it is wrapped.
 */
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
  // What is wrapped is still there: spaces and line ends are passed over.
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

// By their lengths: all pieces of that length of each form, or the form itself where it is shorter.
const piecesOf = (forms: ReadonlyArray<Form>): Map<number, Set<string>> => {
  const pieces = new Map<number, Set<string>>()
  for (const { text, shortest } of forms) {
    const length = Math.min(text.length, shortest)
    const known = pieces.get(length) ?? new Set()
    pieces.set(length, known)
    for (let start = 0; start + length <= text.length; start += 1) known.add(text.slice(start, start + length))
  }
  return pieces
}

const formsOf = (secret: string): ReadonlyArray<Form> => {
  if (secret === "") return []
  const inJson = JSON.stringify(secret).slice(1, -1)
  // Go escapes these as well.
  const inGo = inJson.replace(/[<>&]/g, (character) => `\\u00${character.charCodeAt(0).toString(16)}`)
  const bytes = Buffer.from(secret)
  const texts = [secret, inJson, inGo, inAscii(inJson), inUrl(secret), ...inBase64(bytes)]
  return [
    ...texts.map((text) => ({ text: packedForm(text), shortest: shortestPiece })),
    { text: bytes.toString("hex"), shortest: shortestHex }
  ].filter(({ text }) => text !== "")
}

const packedForm = (text: string): string => folded([...text].filter((character) => !space.test(character)).join(""))

// ASCII letters alone: others can be longer in lower case, and places would no longer be those of the text.
const folded = (text: string): string => text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())

// As JSON is written where it goes through what knows no other letters.
const inAscii = (inJson: string): string =>
  inJson.replace(/[\u0080-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`)

const inUrl = (secret: string): string => encodeURIComponent(secret.replace(/\p{Cs}/gu, ""))

// At each of the three places where a group of base64 can begin, without the characters that hold bits of what is beside.
const inBase64 = (bytes: Buffer): ReadonlyArray<string> =>
  [0, 1, 2].flatMap((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString("base64")
      .replace(/=+$/, "")
    const whole = Math.floor(((before + bytes.byteLength) * 8) / 6)
    const own = text.slice(Math.ceil((before * 8) / 6), whole)
    // A short one would be in every text.
    return own.length < 4 ? [] : [own, own.replaceAll("+", "-").replaceAll("/", "_")]
  })
