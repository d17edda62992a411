/** Files that are read within a time, up to a size, and one read at a time: what a path leads to may never answer. */
import { constants } from "node:fs"
import type { FileHandle } from "node:fs/promises"
import { open, stat } from "node:fs/promises"
import { clearTimeout, setTimeout } from "./timer.js"

// How long a file may take, in milliseconds. A mount that is gone never answers.
const longest = 5_000

// How much may be in it, in bytes: all authorities that browsers trust take a quarter of a megabyte.
const most = 4_194_304

interface Read {
  readonly text: Promise<string>
  isLate: boolean
}

// A read that hangs keeps one of the few threads in which Node.js reads files, and no second one.
const reads = new Map<string, Read>()

/**
 * The text of a regular file. It rejects with an error whose `code` says why, and whose message holds nothing of the path:
 * also if the file takes longer than five seconds, is longer than four megabytes, or is none (a pipe, a device, a folder).
 * Where something is there by that name, the error has `isThere: true`.
 */
export const readBounded = async (path: string): Promise<string> => {
  const known = reads.get(path)
  if (known?.isLate === true) throw late()
  const read = known ?? begun(path)
  let timer: ReturnType<typeof setTimeout> | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      read.isLate = true
      reject(late())
    }, longest)
  })
  try {
    return await Promise.race([read.text, tooLate])
  } finally {
    clearTimeout(timer)
  }
}

const begun = (path: string): Read => {
  const read: Read = {
    text: textOf(path, () => read.isLate).finally(() => {
      reads.delete(path)
    }),
    isLate: false
  }
  // Where it fails after its time nothing waits for it any more.
  read.text.catch(() => {})
  reads.set(path, read)
  return read
}

const textOf = async (path: string, isLate: () => boolean): Promise<string> => {
  // To open a pipe waits for a writer, and to open a device can change its state.
  checkKind(await statOf(path))
  const file = await open(path, flags).catch(failed).catch(there)
  try {
    // It may be another one by now.
    checkKind(await file.stat().catch(failed))
    return await contentOf(file, isLate)
  } finally {
    await file.close().catch(() => {})
  }
}

// A file that becomes a pipe in between is not waited for either. Other runtimes than Node.js take no such flags everywhere,
// and Windows has none.
const isNode = !("Deno" in globalThis) && !("Bun" in globalThis)
const flags = isNode ? constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) : "r"

const statOf = (path: string): Promise<Kind> => stat(path).catch(failed)

interface Kind {
  isFile(): boolean
  isDirectory(): boolean
  isFIFO(): boolean
}

const checkKind = (kind: Kind): void => {
  if (kind.isFile()) return
  const [what, code] = kind.isDirectory()
    ? ["a folder", "EISDIR"]
    : [kind.isFIFO() ? "a pipe" : "a device or a socket", "EINVAL"]
  there(coded(`it is ${what}, and no regular file`, code))
}

const contentOf = async (file: FileHandle, isLate: () => boolean): Promise<string> => {
  const parts: Array<Buffer> = []
  for (let length = 0; ; ) {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(65_536), 0, 65_536, null).catch(failed)
    if (bytesRead === 0) return Buffer.concat(parts).toString("utf8")
    parts.push(buffer.subarray(0, bytesRead))
    length += bytesRead
    if (length > most) there(coded(`it is longer than ${most} bytes`, "EFBIG"))
    if (isLate()) throw late()
  }
}

const late = (): Error => coded(`it did not answer within ${longest / 1_000} seconds`, "ETIMEDOUT")

// What Node.js says holds the path, which may be no path but a secret.
const failed = (cause: unknown): never => {
  const { code } = cause as NodeJS.ErrnoException
  throw coded(words[code ?? ""] ?? "it cannot be read", code)
}

const there = (error: Error): never => {
  throw Object.assign(error, { isThere: true })
}

const words: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  ENOTDIR: "it does not exist",
  EACCES: "permission denied",
  EPERM: "permission denied",
  ELOOP: "its links lead in a circle",
  EMFILE: "too many files are open",
  ENFILE: "too many files are open",
  EIO: "input or output failed",
  ESTALE: "its mount is gone"
}

const coded = (message: string, code = "unknown"): Error => Object.assign(new Error(`${message} (${code})`), { code })
