/** The certificates of clients: whether what one shows lets it in. */
import type { X509Certificate } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { isIP } from "node:net"
import type { TLSSocket } from "node:tls"
import { urlHost } from "./address.js"
import type { Refusal } from "./endpoint.js"
import type { TlsMaterial } from "./secureContext.js"

interface Verdict {
  readonly refusal: Refusal | undefined
  /** When the certificate ends to be valid, in milliseconds. Undefined: there is none. */
  readonly until: number | undefined
}

/** Why the client of a request is not let in; `undefined` if no client is asked for a certificate. */
export const certificateRefusal = ({ allowedNames, clientCertificate }: TlsMaterial) => {
  if (clientCertificate === "none") return undefined
  // A connection shows its certificate once.
  const verdicts = new WeakMap<TLSSocket, Verdict>()
  const isAllowed = allowedNames === undefined ? () => true : allowing(allowedNames)
  return (request: IncomingMessage): Refusal | undefined => {
    const socket = request.socket as TLSSocket
    const verdict = verdicts.get(socket) ?? verdictOn(socket, isAllowed)
    verdicts.set(socket, verdict)
    // It may end while its connection is open.
    const isOver = verdict.until !== undefined && !(Date.now() <= verdict.until)
    return isOver ? forbidden("The client certificate has expired") : verdict.refusal
  }
}

const verdictOn = (socket: TLSSocket, isAllowed: (certificate: X509Certificate) => boolean): Verdict => {
  const certificate = socket.getPeerX509Certificate()
  // Where one is required, there is no connection without.
  if (certificate === undefined) return { refusal: undefined, until: undefined }
  const until = Date.parse(certificate.validTo)
  if (!socket.authorized) return { refusal: forbidden("The client certificate cannot be verified"), until }
  return {
    refusal: isAllowed(certificate) ? undefined : forbidden("The client certificate is for another name"),
    until
  }
}

const forbidden = (message: string): Refusal => ({ status: 403, message })

/** Whether one of the names of a certificate is one of those. */
export const allowing = (allowed: ReadonlyArray<string>): ((certificate: X509Certificate) => boolean) => {
  const known = new Set(allowed.flatMap((name) => kindsOf(name)))
  return (certificate) => namesOf(certificate).some((name) => known.has(name))
}

// An address is that of a machine and nothing else; any other name can be of each kind.
const kindsOf = (name: string): ReadonlyArray<string> =>
  isIP(name) === 0
    ? (["DNS", "URI", "email", "CN"] as const).map((kind) => named(kind, name))
    : [named("IP Address", name)]

const named = (kind: string, name: string): string => {
  if (kind === "IP Address" && isIP(name) !== 0) return `${kind}:${new URL(`http://${urlHost(name)}`).hostname}`
  return `${kind}:${kind === "DNS" ? name.toLowerCase() : name}`
}

const namesOf = (certificate: X509Certificate): ReadonlyArray<string> => {
  const { subject, subjectAltName } = certificate
  if (subjectAltName !== undefined) return alternativeNames(subjectAltName)
  // Attributes of one part of the subject stand in one line; a plus sign in any of them is escaped.
  const attributes = subject.split("\n").flatMap((line) => line.split(" + "))
  const commonNames = attributes.filter((attribute) => attribute.startsWith("CN="))
  // Where somebody has put a second one, nobody knows which of them is meant.
  return commonNames.length === 1 ? commonNames.map((name) => named("CN", unescaped(name.slice("CN=".length)))) : []
}

// As in RFC 4514: what would mean something else has a backslash before it, control characters are two hexadecimal digits.
const unescaped = (text: string): string =>
  text.replace(/\\([0-9A-F]{2}|.)/g, (_, escaped: string) =>
    escaped.length === 2 ? String.fromCharCode(Number.parseInt(escaped, 16)) : escaped
  )

// As Node.js writes them, `DNS:a, IP Address:10.0.0.1, URI:"a, b"`: what could be taken for more than one name is quoted.
const alternativeName = /([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y

const alternativeNames = (text: string): ReadonlyArray<string> => {
  const names: Array<string> = []
  alternativeName.lastIndex = 0
  while (alternativeName.lastIndex < text.length) {
    const [, kind, name] = alternativeName.exec(text) ?? []
    // What cannot be read names nobody.
    if (kind === undefined || name === undefined) return []
    names.push(named(kind, name.startsWith('"') ? String(JSON.parse(name)) : name))
  }
  return names
}
