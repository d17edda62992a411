/**
 * The worker thread. It serves HTTP, TLS and compression, sends each scrape to the main thread, and serves the last
 * exposition while that is stuck. It loads only Node.js and modules of the core.
 */
import { parentPort, workerData } from "node:worker_threads"
import { defaultFormat, type Format, formats } from "../exposition/formats.js"
import type { LabelTexts } from "../exposition/labelText.js"
import { ageFamily } from "../exposition/ownFamilies.js"
import type { Cancellation } from "../exposition/renderRequest.js"
import { encodeSamples } from "../exposition/samples.js"
import { Writer } from "../exposition/writer.js"
import { clientClosed, type ScrapeErrorResponse, type ScrapeRequest, type ScrapeResult } from "../server/endpoint.js"
import { type ListeningServer, listen } from "../server/listen.js"
import type { ServerSettings } from "../server/serverOptions.js"
import { longestTimer } from "../util/duration.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { clearTimeout, nextTurn, now, setTimeout, type Timer } from "../util/realTimers.js"
import type { FromWorker, NumberedScrapeRequest, SentExposition, ToWorker, WorkerStartData } from "./messages.js"
import { ScrapeReporter } from "./scrapeReport.js"

interface CachedFamily {
  readonly bytes: Uint8Array
  /** In milliseconds of `now()`. */
  readonly receivedAt: number
}

interface Cached {
  readonly format: Format
  readonly families: ReadonlyArray<Uint8Array>
  /** Of the oldest family, in milliseconds. */
  readonly age: number
}

class Cache {
  defaults: LabelTexts | undefined
  private readonly formats = new Map<Format, { readonly at: number; readonly families: Map<string, CachedFamily> }>()

  /** An exposition of all families replaces everything; one of some families only those. */
  put(exposed: SentExposition): void {
    this.defaults = exposed.defaults
    const receivedAt = now()
    const known = this.formats.get(exposed.format)
    // Without a complete exposition, some families would look like all of them.
    if (exposed.requested !== undefined && known === undefined) return
    const families = exposed.requested === undefined || known === undefined ? new Map() : known.families
    for (const name of exposed.requested ?? []) families.delete(name)
    for (const [name, bytes] of split(exposed)) families.set(name, { bytes, receivedAt })
    this.formats.set(exposed.format, { at: exposed.requested === undefined ? receivedAt : (known?.at ?? 0), families })
  }

  /** If the requested format is missing or too old: the text format. */
  get(request: ScrapeRequest, staleFor: number): Cached | undefined {
    const found = [request.format, defaultFormat].flatMap((format) => this.in(format, request.names) ?? [])
    return found.find(({ age }) => age <= staleFor) ?? found[0]
  }

  has(name: string): boolean {
    return [...this.formats.values()].some(({ families }) => families.has(name))
  }

  private in(format: Format, names: ReadonlyArray<string> | undefined): Cached | undefined {
    const known = this.formats.get(format)
    if (known === undefined) return undefined
    const requested = names === undefined ? undefined : new Set(names)
    const families = [...known.families].filter(([name]) => requested?.has(name) ?? true).map(([, family]) => family)
    const oldest = families.reduce((at, { receivedAt }) => Math.min(at, receivedAt), Number.POSITIVE_INFINITY)
    const receivedAt = families.length === 0 ? known.at : oldest
    return { format, families: families.map(({ bytes }) => bytes), age: now() - receivedAt }
  }
}

const split = ({ names, lengths, bytes }: SentExposition): ReadonlyArray<readonly [string, Uint8Array]> => {
  let start = 0
  return names.map((name, index) => {
    const end = start + (lengths[index] ?? 0)
    const family = bytes.subarray(start, end)
    start = end
    return [name, family]
  })
}

/** Undefined: it does not respond. */
type MainThreadResponse = SentExposition | ScrapeErrorResponse | undefined

interface Waiting {
  readonly finish: (response: MainThreadResponse) => void
  readonly hasCached: () => boolean
}

// How many times the longest block of the last render the main thread may work without yielding.
const patience = 4

/** Detects when the main thread is stuck. It then gets no scrapes until it shows a sign of life. */
class MainThread {
  private readonly waiting = new Map<number, Waiting>()
  private lastId = 0
  private isStuck = false
  private isPinged = false
  private watch: Timer | undefined
  private unsent: Array<NumberedScrapeRequest> = []
  private readonly waitingForSign = new Set<() => void>()

  constructor(
    private readonly post: (message: FromWorker) => void,
    private readonly grace: number,
    private longestBlock: number
  ) {}

  receive(message: Exclude<ToWorker, { readonly tag: "Close" | "Renew" | "ReportRead" }>): void {
    this.isStuck = false
    for (const resume of this.waitingForSign) resume()
    if (message.tag === "Alive") {
      this.isPinged = false
      this.within(this.grace, () => this.ping())
    } else if (message.tag === "Busy") {
      this.within(this.grace + patience * this.longestBlock, () => this.useCached())
    } else if (message.tag === "ScrapeFailed") this.waiting.get(message.id)?.finish(message)
    else {
      const { exposition: exposed, ids } = message
      // A render of some families is only a lower limit for the time of all families.
      this.longestBlock =
        exposed.requested === undefined ? exposed.longestBlock : Math.max(this.longestBlock, exposed.longestBlock)
      for (const id of ids) this.waiting.get(id)?.finish(exposed)
    }
  }

  /**
   * `undefined` if the main thread shows no sign of life for `grace`, was already stuck, or works much longer than for
   * the last scrape while a cached exposition can be served; after the timeout; and if the client has left.
   */
  async scrape(
    request: ScrapeRequest,
    hasCached: () => boolean,
    cancellation: Cancellation | undefined
  ): Promise<MainThreadResponse> {
    if (this.isStuck && !(await this.waitForSign())) return undefined
    return cancellation?.isCancelled ? undefined : this.send(request, hasCached, cancellation)
  }

  private send(
    request: ScrapeRequest,
    hasCached: () => boolean,
    cancellation: Cancellation | undefined
  ): Promise<MainThreadResponse> {
    this.lastId += 1
    const id = this.lastId
    return new Promise((resolve) => {
      const finish = (response: MainThreadResponse): void => {
        clearTimeout(late)
        this.waiting.delete(id)
        if (this.waiting.size === 0) this.within(undefined)
        resolve(response)
      }
      const giveUp = (): void => {
        this.post({ tag: "Forget", ids: [id] })
        finish(undefined)
      }
      // The main thread observes the timeout itself, unless it is blocked.
      const late = setTimeout(giveUp, Math.min(request.timeout + this.grace, longestTimer))
      if (cancellation !== undefined) {
        cancellation.onCancel = () => {
          if (this.waiting.has(id)) giveUp()
        }
      }
      this.waiting.set(id, { finish, hasCached })
      this.enqueue({ id, request })
    })
  }

  // Requests that arrive in the same turn are sent together, so that they can share a render.
  private enqueue(scrape: NumberedScrapeRequest): void {
    this.unsent.push(scrape)
    if (this.unsent.length > 1) return
    void nextTurn().then(() => {
      const scrapes = this.unsent.filter(({ id }) => this.waiting.has(id))
      this.unsent = []
      if (scrapes.length === 0) return
      this.post({ tag: "Scrape", scrapes })
      if (this.watch === undefined) this.within(this.grace, () => this.giveUp())
    })
  }

  // Waits up to `grace` for a sign of life. Nothing is sent meanwhile, but earlier work may just be ending.
  private waitForSign(): Promise<boolean> {
    return new Promise((resolve) => {
      const finish = (): void => {
        clearTimeout(late)
        this.waitingForSign.delete(finish)
        resolve(!this.isStuck)
      }
      const late = setTimeout(finish, this.grace)
      this.waitingForSign.add(finish)
    })
  }

  // The main thread waits for slow metrics. A ping checks whether it still responds.
  private ping(): void {
    this.sendPing()
    this.within(this.grace, () => this.giveUp())
  }

  private sendPing(): void {
    if (this.isPinged) return
    this.isPinged = true
    this.post({ tag: "Ping" })
  }

  private giveUp(): void {
    this.isStuck = true
    this.post({ tag: "Forget", ids: [...this.waiting.keys()] })
    this.sendPing()
    for (const { finish } of [...this.waiting.values()]) finish(undefined)
  }

  private useCached(): void {
    for (const { finish, hasCached } of [...this.waiting.values()]) if (hasCached()) finish(undefined)
  }

  // The timer runs only while requests are waiting.
  private within(milliseconds: number | undefined, act: () => void = () => {}): void {
    clearTimeout(this.watch)
    this.watch = undefined
    if (milliseconds === undefined || this.waiting.size === 0) return
    this.watch = setTimeout(() => {
      this.watch = undefined
      act()
    }, milliseconds)
  }
}

const scraping =
  (main: MainThread, cache: Cache, { staleFor, selfMetrics }: ServerSettings) =>
  async (request: ScrapeRequest, cancellation?: Cancellation): Promise<ScrapeResult> => {
    // Another metric with this name takes precedence, as on a registry.
    const stamp = (age: number): AgeStamp | undefined =>
      selfMetrics && !cache.has(ageFamily.name) ? { age, defaults: cache.defaults } : undefined
    const hasCached = (): boolean => (cache.get(request, staleFor)?.age ?? Number.POSITIVE_INFINITY) <= staleFor
    const response = await main.scrape(request, hasCached, cancellation)
    if (cancellation?.isCancelled) return clientClosed
    if (response !== undefined) return "status" in response ? response : selectFrom(response, request, stamp(0))
    const cached = cache.get(request, staleFor)
    if (cached === undefined) return stale("no exposition is cached yet")
    const { format, families, age } = cached
    if (age > staleFor) return stale(`the cached exposition is ${(age / 1e3).toFixed(0)} s old (staleFor)`)
    return exposition(format, families, stamp(age))
  }

// Scrapes of the same families share a body.
const bodies = new WeakMap<SentExposition, Map<string, ScrapeResult>>()

const selectFrom = (exposed: SentExposition, { names }: ScrapeRequest, stamp: AgeStamp | undefined): ScrapeResult => {
  const known = getOrInsert(bodies, exposed, () => new Map())
  const requested = names && new Set(names)
  const chosen = exposed.names.flatMap((name, index) => (requested?.has(name) === false ? [] : [index]))
  return getOrInsert(known, chosen.join(), () => {
    const all = chosen.length === exposed.names.length ? [exposed.bytes] : undefined
    return exposition(exposed.format, all ?? selectedBytes(exposed, chosen), stamp)
  })
}

const selectedBytes = (exposed: SentExposition, chosen: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const families = split(exposed)
  return chosen.flatMap((index) => families[index]?.[1] ?? [])
}

const stale = (why: string): ScrapeResult => ({
  status: 503,
  cause: "stale",
  message: `the application does not respond, and ${why}`
})

interface AgeStamp {
  /** In milliseconds. */
  readonly age: number
  readonly defaults: LabelTexts | undefined
}

const exposition = (format: Format, families: ReadonlyArray<Uint8Array>, stamp: AgeStamp | undefined): ScrapeResult => {
  const own = new Writer()
  if (stamp !== undefined) {
    const style = { format, defaults: stamp.defaults, clashes: new Map(), leaveOut: () => {} }
    for (const _ of encodeSamples(own, { ...ageFamily, samples: [[{ value: stamp.age / 1e3 }]] }, style));
  }
  const { contentType, epilogue } = formats[format]
  own.text(epilogue)
  return { contentType, body: Buffer.concat([...families, own.bytes()]) }
}

const run = async ({ first, settings }: WorkerStartData, port: NonNullable<typeof parentPort>): Promise<void> => {
  const reporter = new ScrapeReporter((report) => port.postMessage({ tag: "Report", report } satisfies FromWorker))
  const post = (message: FromWorker): void => {
    // So that an exposition contains all earlier events, and that none is lost at the end.
    if (message.tag === "Scrape" || message.tag === "Closed") reporter.send()
    port.postMessage(message)
  }
  const cache = new Cache()
  if (first !== undefined) cache.put(first)
  const main = new MainThread(post, settings.grace, first?.longestBlock ?? 0)
  let server: ListeningServer
  try {
    server = await listen(settings, {
      ...settings,
      load: { scrapes: 0 },
      scrape: scraping(main, cache, settings),
      onEvent: (event) => reporter.add(event)
    })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    post({ tag: "Failed", code, message })
    return
  }
  port.on("message", (message: ToWorker) => {
    if (message.tag === "Scraped") cache.put(message.exposition)
    if (message.tag === "ReportRead") return reporter.read()
    if (message.tag === "Renew") return server.renew(message.tls)
    if (message.tag !== "Close") return main.receive(message)
    server.close(message.deadline).then(() => {
      post({ tag: "Closed" })
      // The port of Deno has no `close`.
      port.unref()
    })
  })
  post({ tag: "Listening", hostname: server.hostname, port: server.port })
}

if (parentPort !== null) void run(workerData as WorkerStartData, parentPort)
