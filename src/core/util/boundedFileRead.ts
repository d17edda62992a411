/** Reads files with a time limit and a size limit. Each file is read once at a time, because a read may never end. */
import { constants } from "node:fs"
import { type FileHandle, open, stat } from "node:fs/promises"
import { clearTimeout, setTimeout } from "./realTimers.js"

// The time limit of a file, in milliseconds. A lost mount never responds.
const longest = 5_000

// The size limit of a file, in bytes. All certificate authorities that browsers trust take a quarter of a megabyte.
const most = 4_194_304

interface Read {
  readonly text: Promise<string>
  isLate: boolean
}

// A read that hangs occupies one of the few threads in which Node.js reads files: no second read of the file starts.
const reads = new Map<string, Read>()

/**
 * Rejects if the file takes longer than five seconds, is longer than four megabytes, is not regular, or cannot be read.
 * The error has a `code`, and `isThere: true` if the path exists. Its message does not contain the path.
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
  // A failure after the time limit is ignored.
  read.text.catch(() => {})
  reads.set(path, read)
  return read
}

const textOf = async (path: string, isLate: () => boolean): Promise<string> => {
  // Opening a pipe waits for a writer, and opening a device can change its state.
  checkKind(await statOf(path))
  const file = await open(path, flags).catch(failed).catch(there)
  try {
    // The path may lead to another file by now.
    checkKind(await file.stat().catch(failed))
    return await contentOf(file, isLate)
  } finally {
    await file.close().catch(() => {})
  }
}

// O_NONBLOCK: the file may have become a pipe. Other runtimes support it only in part, and Windows has no such flag.
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
    ? ["a directory", "EISDIR"]
    : [kind.isFIFO() ? "a pipe" : "a device or a socket", "EINVAL"]
  there(coded(`it is ${what}, not a regular file`, code))
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

const late = (): Error => coded(`it did not respond within ${longest / 1_000} seconds`, "ETIMEDOUT")

// The error of Node.js contains the path, which may be a secret.
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
  ELOOP: "too many levels of symbolic links",
  EMFILE: "too many open files",
  ENFILE: "too many open files",
  EIO: "input/output error",
  ESTALE: "stale file handle"
}

const coded = (message: string, code = "unknown"): Error => Object.assign(new Error(`${message} (${code})`), { code })
