/** Authorization by client certificate. */
import type { X509Certificate } from "node:crypto"
import type { IncomingMessage } from "node:http"
import { isIP } from "node:net"
import type { TLSSocket } from "node:tls"
import { urlHost } from "../../util/address.js"
import { getOrInsert } from "../../util/getOrInsert.js"
import type { Rejection } from "../endpoint.js"
import type { TlsMaterial } from "./secureContext.js"

interface Verdict {
  readonly rejection: Rejection | undefined
  /** In milliseconds. Undefined: the client sent no certificate. */
  readonly until: number | undefined
}

/** `undefined` if clients are asked for no certificate. */
export const certificateCheck = ({ allowedNames, clientCertificate }: TlsMaterial) => {
  if (clientCertificate === "none") return undefined
  // The certificate of a connection does not change.
  const verdicts = new WeakMap<TLSSocket, Verdict>()
  const isAllowed = allowedNames === undefined ? () => true : allowing(allowedNames)
  return (request: IncomingMessage): Rejection | undefined => {
    const socket = request.socket as TLSSocket
    const verdict = getOrInsert(verdicts, socket, () => verdictOn(socket, isAllowed, clientCertificate === "required"))
    // It may expire while its connection is open.
    const isExpired = verdict.until !== undefined && !(Date.now() <= verdict.until)
    return isExpired ? forbidden("The client certificate has expired") : verdict.rejection
  }
}

const verdictOn = (
  socket: TLSSocket,
  isAllowed: (certificate: X509Certificate) => boolean,
  isRequired: boolean
): Verdict => {
  // Bun says only whether a certificate was verified, so `allowedNames` is refused there, and a certificate that cannot
  // be verified counts as none.
  if (typeof socket.getPeerX509Certificate !== "function") {
    const isMissing = isRequired && socket.authorized !== true
    return {
      rejection: isMissing ? forbidden("The client certificate cannot be verified") : undefined,
      until: undefined
    }
  }
  const certificate = socket.getPeerX509Certificate()
  // If certificates are required, the handshake fails without one.
  if (certificate === undefined) return { rejection: undefined, until: undefined }
  const until = Date.parse(certificate.validTo)
  if (!socket.authorized) return { rejection: forbidden("The client certificate cannot be verified"), until }
  return {
    rejection: isAllowed(certificate) ? undefined : forbidden("The client certificate has none of the allowed names"),
    until
  }
}

const forbidden = (message: string): Rejection => ({ status: 403, message })

export const allowing = (allowed: ReadonlyArray<string>): ((certificate: X509Certificate) => boolean) => {
  const known = new Set(allowed.flatMap((name) => kindsOf(name)))
  return (certificate) => namesOf(certificate).some((name) => known.has(name))
}

// An IP address is of one kind; any other name can be of each of the other kinds.
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
  // The attributes of one part of the subject are in one line; plus signs in their values are escaped.
  const attributes = subject.split("\n").flatMap((line) => line.split(" + "))
  const commonNames = attributes.filter((attribute) => attribute.startsWith("CN="))
  // With two common names it is not clear which one is meant.
  return commonNames.length === 1 ? commonNames.map((name) => named("CN", unescaped(name.slice("CN=".length)))) : []
}

// As in RFC 4514: special characters have a backslash before them, control characters are two hexadecimal digits.
const unescaped = (text: string): string =>
  text.replace(/\\([0-9A-F]{2}|.)/g, (_, escaped: string) =>
    escaped.length === 2 ? String.fromCharCode(Number.parseInt(escaped, 16)) : escaped
  )

// As Node.js writes them, `DNS:a, IP Address:10.0.0.1, URI:"a, b"`: ambiguous names are quoted.
const alternativeName = /([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?:, |$)/y

const alternativeNames = (text: string): ReadonlyArray<string> => {
  const names: Array<string> = []
  alternativeName.lastIndex = 0
  while (alternativeName.lastIndex < text.length) {
    const [, kind, name] = alternativeName.exec(text) ?? []
    if (kind === undefined || name === undefined) return []
    names.push(named(kind, name.startsWith('"') ? String(JSON.parse(name)) : name))
  }
  return names
}
