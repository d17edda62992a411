/**
 * The entry of the worker thread: it serves HTTP, TLS and compression, asks the main thread for each scrape, and serves
 * the last exposition while that thread is stuck. It loads nothing but Node.js and its own neighbours.
 */
import { parentPort, workerData } from "node:worker_threads"
import { encodeSamples, epilogues } from "./encoder.js"
import type { Ask, Scraped } from "./endpoint.js"
import type { LabelTexts } from "./labelText.js"
import type { Format } from "./negotiation.js"
import { contentTypes } from "./negotiation.js"
import type { Exposed, FromWorker, ToWorker, WorkerOptions } from "./protocol.js"
import { ScrapeReporter } from "./scrapeReport.js"
import { ageMetric } from "./selfMetrics.js"
import type { Running } from "./server.js"
import { listen } from "./server.js"
import { shared } from "./sharing.js"
import type { Timer } from "./timer.js"
import { clearTimeout, longestTimer, now, setTimeout } from "./timer.js"
import { Writer } from "./writer.js"

interface CachedFamily {
  readonly bytes: Uint8Array
  /** In milliseconds of `now()`. */
  readonly receivedAt: number
}

interface Cached {
  readonly format: Format
  readonly families: ReadonlyArray<Uint8Array>
  /** Of the oldest of the families, in milliseconds. */
  readonly age: number
}

/** The families as they were last seen in each format. */
class Cache {
  /** The labels that all series have, as of the last exposition. */
  defaults: LabelTexts | undefined
  private readonly formats = new Map<Format, { readonly at: number; readonly families: Map<string, CachedFamily> }>()

  /** Takes in an exposition. One of all families replaces what was known; one of some replaces those of them. */
  put(exposed: Exposed): void {
    this.defaults = exposed.defaults
    const receivedAt = now()
    const known = this.formats.get(exposed.format)
    // Some families alone would pass for all of them.
    if (exposed.asked !== undefined && known === undefined) return
    const families = exposed.asked === undefined || known === undefined ? new Map() : known.families
    for (const name of exposed.asked ?? []) families.delete(name)
    for (const [name, bytes] of split(exposed)) families.set(name, { bytes, receivedAt })
    this.formats.set(exposed.format, { at: exposed.asked === undefined ? receivedAt : (known?.at ?? 0), families })
  }

  /** The families asked for: in that format, or else, or if it is too old, as text. */
  get(ask: Ask, staleFor: number): Cached | undefined {
    const found = ([ask.format, "text"] as const).flatMap((format) => this.in(format, ask.names) ?? [])
    return found.find(({ age }) => age <= staleFor) ?? found[0]
  }

  /** Whether there is a family by that name. */
  has(name: string): boolean {
    return [...this.formats.values()].some(({ families }) => families.has(name))
  }

  private in(format: Format, names: ReadonlyArray<string> | undefined): Cached | undefined {
    const known = this.formats.get(format)
    if (known === undefined) return undefined
    const asked = names === undefined ? undefined : new Set(names)
    const families = [...known.families].filter(([name]) => asked?.has(name) ?? true).map(([, family]) => family)
    const oldest = families.reduce((at, { receivedAt }) => Math.min(at, receivedAt), Number.POSITIVE_INFINITY)
    const receivedAt = families.length === 0 ? known.at : oldest
    return { format, families: families.map(({ bytes }) => bytes), age: now() - receivedAt }
  }
}

const split = ({ names, lengths, bytes }: Exposed): ReadonlyArray<readonly [string, Uint8Array]> => {
  let start = 0
  return names.map((name, index) => {
    const end = start + (lengths[index] ?? 0)
    const family = bytes.subarray(start, end)
    start = end
    return [name, family]
  })
}

type Answered = Extract<ToWorker, { readonly tag: "Scraped" | "NotScraped" }>

// How many times as long as for the last scrape the main thread may work on one without giving way.
const patience = 4

/** Asks the main thread, and notices when it is stuck. */
class MainThread {
  private readonly waiting = new Map<number, (message: ToWorker) => void>()
  private lastId = 0

  constructor(
    private readonly post: (message: FromWorker) => void,
    private readonly grace: number,
    private heldFor: number
  ) {}

  receive(message: Exclude<ToWorker, { readonly tag: "Close" | "Renew" | "ReportRead" }>): void {
    if (message.tag === "Scraped") {
      const { asked, heldFor } = message.exposed
      // Some families alone tell how long all of them take at least.
      this.heldFor = asked === undefined ? heldFor : Math.max(this.heldFor, heldFor)
    }
    this.waiting.get(message.id)?.(message)
  }

  /**
   * The answer to a scrape, or `undefined` when the main thread shows no sign of life for `grace`; when it is busy with
   * this scrape for much longer than with the last one, and there is something else to serve; or when the time is over.
   */
  scrape(ask: Ask, hasOther: () => boolean): Promise<Answered | undefined> {
    this.lastId += 1
    const id = this.lastId
    return new Promise((resolve) => {
      let timer: Timer | undefined
      const within = (milliseconds: number, act: () => void): void => {
        clearTimeout(timer)
        timer = setTimeout(act, milliseconds)
      }
      const finish = (answered: Answered | undefined): void => {
        clearTimeout(timer)
        clearTimeout(late)
        this.waiting.delete(id)
        resolve(answered)
      }
      const giveUp = (): void => {
        this.post({ tag: "Forget", id })
        finish(undefined)
      }
      // It was there, and waits for metrics that take their time. Is it still there?
      const ping = (): void => {
        this.post({ tag: "Ping", id })
        within(this.grace, giveUp)
      }
      const lookElsewhere = (): void => {
        if (hasOther()) finish(undefined)
      }
      // The main thread keeps to the time itself, unless it is held up.
      const late = setTimeout(giveUp, Math.min(ask.timeout + this.grace, longestTimer))
      this.waiting.set(id, (message) => {
        if (message.tag === "Alive") within(this.grace, ping)
        else if (message.tag === "Busy") within(this.grace + patience * this.heldFor, lookElsewhere)
        else if (message.tag === "Scraped" || message.tag === "NotScraped") finish(message)
      })
      this.post({ tag: "Scrape", id, ask })
      within(this.grace, giveUp)
    })
  }
}

/** Serves what the main thread answers, or what it last answered. */
const scraping =
  (main: MainThread, cache: Cache, { staleFor, tellsAge }: WorkerOptions) =>
  (ask: Ask): Promise<Scraped> =>
    shared(main, JSON.stringify(ask), async () => {
      // Somebody else's by its name stays, as on a registry.
      const told = (age: number): Told | undefined =>
        tellsAge && !cache.has(ageMetric.name) ? { age, defaults: cache.defaults } : undefined
      const answered = await main.scrape(
        ask,
        () => (cache.get(ask, staleFor)?.age ?? Number.POSITIVE_INFINITY) <= staleFor
      )
      if (answered?.tag === "NotScraped") return answered
      if (answered !== undefined) {
        const { bytes, format } = answered.exposed
        return exposition(format, [bytes], told(0))
      }
      const cached = cache.get(ask, staleFor)
      if (cached === undefined) return stale("has given no numbers yet")
      const { format, families, age } = cached
      if (age > staleFor) return stale(`its last numbers are ${(age / 1e3).toFixed(0)} s old`)
      return exposition(format, families, told(age))
    })

const stale = (why: string): Scraped => ({
  status: 503,
  cause: "stale",
  message: `the application does not answer, and ${why}`
})

interface Told {
  /** In milliseconds. */
  readonly age: number
  readonly defaults: LabelTexts | undefined
}

// What is not told is undefined.
const exposition = (format: Format, families: ReadonlyArray<Uint8Array>, told: Told | undefined): Scraped => {
  const own = new Writer()
  if (told !== undefined) {
    const style = { format, defaults: told.defaults, clashes: new Map(), leaveOut: () => {} }
    for (const _ of encodeSamples(own, ageMetric, [[{ value: told.age / 1e3 }]], style));
  }
  own.text(epilogues[format])
  return { contentType: contentTypes[format], body: Buffer.concat([...families, own.bytes()]) }
}

const run = async (options: WorkerOptions, port: NonNullable<typeof parentPort>): Promise<void> => {
  const reporter = new ScrapeReporter((report) => port.postMessage({ tag: "Report", report } satisfies FromWorker))
  const post = (message: FromWorker): void => {
    // An exposition contains everything that happened before it, and nothing is lost in the end.
    if (message.tag === "Scrape" || message.tag === "Closed") reporter.send()
    port.postMessage(message)
  }
  const cache = new Cache()
  if (options.first !== undefined) cache.put(options.first)
  const main = new MainThread(post, options.grace, options.first?.heldFor ?? 0)
  let running: Running
  try {
    running = await listen(options.listen, {
      path: options.path,
      explorer: options.explorer,
      compression: options.compression,
      scrapeTimeout: options.scrapeTimeout,
      maxScrapesInFlight: options.maxScrapesInFlight,
      load: { scrapes: 0 },
      scrape: scraping(main, cache, options),
      tell: (event) => reporter.tell(event)
    })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    post({ tag: "Failed", code, message })
    return
  }
  port.on("message", (message: ToWorker) => {
    if (message.tag === "Scraped") cache.put(message.exposed)
    if (message.tag === "ReportRead") return reporter.read()
    if (message.tag === "Renew") return running.renew(message.tls)
    if (message.tag !== "Close") return main.receive(message)
    running.close(message.deadline).then(() => {
      post({ tag: "Closed" })
      // Deno's has no `close`.
      port.unref()
    })
  })
  post({ tag: "Listening", hostname: running.hostname, port: running.port })
}

if (parentPort !== null) void run(workerData as WorkerOptions, parentPort)
