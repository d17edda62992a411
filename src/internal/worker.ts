/**
 * The entry of the worker thread: it serves HTTP, TLS and compression, asks the main thread for each scrape, and serves
 * the last exposition while that thread is stuck. It loads nothing but Node.js and its own neighbours.
 */
import { parentPort, workerData } from "node:worker_threads"
import { encode, epilogues } from "./encoder.js"
import type { Ask, Scraped } from "./endpoint.js"
import type { Format } from "./negotiation.js"
import { contentTypes } from "./negotiation.js"
import type { Exposed, FromWorker, ToWorker, WorkerOptions } from "./protocol.js"
import type { Running } from "./server.js"
import { listen } from "./server.js"

const ageMetric = {
  name: "effect_prometheus_exposition_age_seconds",
  help: "How old the numbers of this exposition are: 0, or the time since the main thread last answered, in seconds.",
  type: "gauge"
}

interface CachedFamily {
  readonly bytes: Uint8Array
  readonly receivedAt: number
}

interface Cached {
  readonly format: Format
  readonly families: ReadonlyArray<Uint8Array>
  /** When the oldest of the families was received, in milliseconds of `performance.now()`. */
  readonly receivedAt: number
}

/** The families as they were last seen in each format. */
class Cache {
  private readonly formats = new Map<Format, { readonly at: number; readonly families: Map<string, CachedFamily> }>()

  /** Takes in an exposition. One of all families replaces what was known; one of some replaces those. */
  put({ format, names, lengths, bytes }: Exposed, asked: ReadonlyArray<string> | undefined): void {
    const receivedAt = performance.now()
    const known = asked === undefined ? undefined : this.formats.get(format)
    const families = known?.families ?? new Map<string, CachedFamily>()
    for (const name of asked ?? []) families.delete(name)
    let start = 0
    names.forEach((name, index) => {
      const end = start + (lengths[index] ?? 0)
      families.set(name, { bytes: bytes.subarray(start, end), receivedAt })
      start = end
    })
    this.formats.set(format, { at: known?.at ?? receivedAt, families })
  }

  /** The families asked for, in that format or else as text. */
  get({ format, names }: Ask): Cached | undefined {
    const at = this.formats.has(format) ? format : "text"
    const known = this.formats.get(at)
    if (known === undefined) return undefined
    const families = [...known.families]
      .filter(([name]) => names === undefined || names.includes(name))
      .map(([, family]) => family)
    return {
      format: at,
      families: families.map(({ bytes }) => bytes),
      receivedAt: families.length === 0 ? known.at : Math.min(...families.map(({ receivedAt }) => receivedAt))
    }
  }
}

type Answered = Extract<ToWorker, { readonly tag: "Scraped" | "NotScraped" }>

/** Asks the main thread, and notices when it is stuck. */
class MainThread {
  private readonly waiting = new Map<number, (message: ToWorker) => void>()
  private lastId = 0

  constructor(
    private readonly post: (message: FromWorker) => void,
    private readonly grace: number
  ) {}

  receive(message: Exclude<ToWorker, { readonly tag: "Close" }>): void {
    this.waiting.get(message.id)?.(message)
  }

  /** The answer to a scrape, or `undefined` when the main thread shows no sign of life for `grace`. */
  scrape(ask: Ask): Promise<Answered | undefined> {
    this.lastId += 1
    const id = this.lastId
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined
      const within = (milliseconds: number, act: () => void): void => {
        clearTimeout(timer)
        timer = setTimeout(act, milliseconds)
      }
      const finish = (answered: Answered | undefined): void => {
        clearTimeout(timer)
        this.waiting.delete(id)
        resolve(answered)
      }
      const giveUp = (): void => {
        this.post({ tag: "Forget", id })
        finish(undefined)
      }
      // It was there, and reads its metrics, which can take time of its own. Is it still there?
      const ping = (): void => {
        this.post({ tag: "Ping", id })
        within(this.grace, giveUp)
      }
      this.waiting.set(id, (message) => {
        if (message.tag === "Alive") within(this.grace, ping)
        else if (message.tag === "Encoding") clearTimeout(timer)
        else if (message.tag !== "Close") finish(message)
      })
      this.post({ tag: "Scrape", id, ask })
      within(this.grace, giveUp)
    })
  }
}

/** Serves what the main thread answers, or what it last answered. */
const scraping =
  (main: MainThread, cache: Cache, staleFor: number) =>
  async (ask: Ask): Promise<Scraped> => {
    const answered = await main.scrape(ask)
    if (answered?.tag === "NotScraped") return { status: answered.status, message: answered.message }
    if (answered !== undefined) cache.put(answered.exposed, ask.names)
    const cached = cache.get(ask)
    if (cached === undefined) {
      return { status: 503, message: "the application does not answer, and has given no numbers yet" }
    }
    const { format, families, receivedAt } = cached
    const age = answered === undefined ? performance.now() - receivedAt : 0
    if (age > staleFor) {
      const seconds = (age / 1e3).toFixed(0)
      return { status: 503, message: `the application does not answer, and its last numbers are ${seconds} s old` }
    }
    const own = encode({ ...ageMetric, values: [{ value: age / 1e3 }] }, format, undefined, new Set())
    const body = Buffer.concat([...families, Buffer.from(`${own}${epilogues[format]}`)])
    return { contentType: contentTypes[format], body }
  }

const run = async (options: WorkerOptions, port: NonNullable<typeof parentPort>): Promise<void> => {
  const post = (message: FromWorker): void => port.postMessage(message)
  const cache = new Cache()
  if (options.first !== undefined) cache.put(options.first, undefined)
  const main = new MainThread(post, options.grace)
  let running: Running
  try {
    running = await listen(options.listen, {
      path: options.path,
      compression: options.compression,
      scrape: scraping(main, cache, options.staleFor)
    })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    post({ tag: "Failed", code, message })
    return
  }
  port.on("message", (message: ToWorker) => {
    if (message.tag !== "Close") return main.receive(message)
    running.close(message.deadline).then(() => {
      post({ tag: "Closed" })
      port.close()
    })
  })
  post({ tag: "Listening", hostname: running.hostname, port: running.port })
}

if (parentPort !== null) void run(workerData as WorkerOptions, parentPort)
