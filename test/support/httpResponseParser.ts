/** A strict parser of the responses on one HTTP/1.1 connection. */
import { gunzipSync } from "node:zlib"

/** One answer, with its body decoded. */
export interface ParsedResponse {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

export interface ParsedResponses {
  readonly answers: ReadonlyArray<ParsedResponse>
  /** What is left after them: the beginning of an answer, or nothing. */
  readonly rest: string
  /** Whether the last of them says that the connection ends with it. */
  readonly isLast: boolean
}

const noChunks = "0\r\n\r\n"

class MalformedError extends Error {}

/**
 * Reads all answers in those bytes. It throws where something is not as RFC 9112 asks for. Which of them answers a HEAD
 * is not known: where one may, a missing body is allowed.
 */
export const parseResponses = (bytes: Buffer, mayBeHead: boolean): ParsedResponses => {
  const text = bytes.toString("latin1")
  const answers: Array<ParsedResponse> = []
  let at = 0
  while (at < text.length) {
    const end = text.indexOf("\r\n\r\n", at)
    if (end === -1) return { answers, rest: checkedStart(text.slice(at)), isLast: false }
    const { headers, status } = readHead(text.slice(at, end))
    const start = end + 4
    const length = headers.get("content-length")
    const closes = headers.get("connection")?.toLowerCase() === "close"
    // So Node.js ends a body that it says nothing in.
    if (headers.get("transfer-encoding") === "chunked" && text.startsWith(noChunks, start)) {
      answers.push({ status, headers, body: "" })
      at = start + noChunks.length
      continue
    }
    // What Node.js answers to a HEAD by itself, it answers without one.
    if (length === undefined && mayBeHead && !closes && !headers.has("transfer-encoding")) {
      answers.push({ status, headers, body: "" })
      at = start
      continue
    }
    if (length === undefined) {
      // Without a length the end of the connection is that of the body.
      if (!closes) throw new MalformedError(`no length, and the connection goes on: ${text.slice(at, end)}`)
      if (start < text.length) throw new MalformedError(`more than an empty body: ${text.slice(at)}`)
      return { answers: [...answers, { status, headers, body: "" }], rest: "", isLast: true }
    }
    const size = Number(length)
    const isWithout = mayBeHead && size > 0 && (start === text.length || text.startsWith("HTTP/1.1 ", start))
    const next = isWithout ? start : start + size
    if (next > text.length) return { answers, rest: text.slice(at), isLast: false }
    answers.push({ status, headers, body: decoded(bytes.subarray(start, next), headers) })
    at = next
    if (closes && at < text.length) throw new MalformedError(`more after the last answer: ${text.slice(at)}`)
  }
  return { answers, rest: "", isLast: answers.at(-1)?.headers.get("connection")?.toLowerCase() === "close" }
}

const checkedStart = (rest: string): string => {
  const start = "HTTP/1.1 "
  if (rest.startsWith(start) || start.startsWith(rest)) return rest
  throw new MalformedError(`no answer begins so: ${JSON.stringify(rest.slice(0, 200))}`)
}

const readHead = (head: string): { readonly status: number; readonly headers: ReadonlyMap<string, string> } => {
  const [first = "", ...lines] = head.split("\r\n")
  const [, status] = /^HTTP\/1\.1 ([1-5]\d\d) [\t\x20-\x7e]*$/.exec(first) ?? []
  if (status === undefined) throw new MalformedError(`not a status line: ${JSON.stringify(first)}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name = "", value = ""] = /^([!#$%&'*+\-.^_`|~\w]+): ([\t\x20-\x7e]*)$/.exec(line) ?? []
    if (name === "") throw new MalformedError(`not a header: ${JSON.stringify(line)}`)
    if (headers.has(name.toLowerCase())) throw new MalformedError(`twice: ${line}`)
    headers.set(name.toLowerCase(), value)
  }
  const length = headers.get("content-length")
  if (length !== undefined && !/^(0|[1-9]\d*)$/.test(length)) throw new MalformedError(`not a length: ${length}`)
  return { status: Number(status), headers }
}

const decoded = (body: Uint8Array, headers: ReadonlyMap<string, string>): string =>
  (headers.get("content-encoding") === "gzip" && body.byteLength > 0 ? gunzipSync(body) : Buffer.from(body)).toString()
