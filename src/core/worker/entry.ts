/**
 * The entry of the worker thread: it serves HTTP, TLS and compression, asks the main thread for each scrape, and serves
 * the last exposition while that thread is stuck. It loads nothing but Node.js and its own neighbours.
 */
import { parentPort, workerData } from "node:worker_threads"
import { encodeSamples, epilogues } from "./encoder.js"
import type { Ask, NotScraped, Scraped } from "./endpoint.js"
import { clientClosed } from "./endpoint.js"
import type { LabelTexts } from "./labelText.js"
import type { Format } from "./negotiation.js"
import { contentTypes } from "./negotiation.js"
import type { Asked, Exposed, FromWorker, ToWorker, WorkerOptions } from "./protocol.js"
import { ScrapeReporter } from "./scrapeReport.js"
import { ageMetric } from "./selfMetrics.js"
import type { Running } from "./server.js"
import { listen } from "./server.js"
import type { Leaving } from "./sharedRender.js"
import type { Timer } from "./timer.js"
import { clearTimeout, longestTimer, nextTurn, now, setTimeout } from "./timer.js"
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

/** What the main thread answers. Undefined: there is nothing to wait for. */
type Answered = Exposed | NotScraped | undefined

interface Waiting {
  readonly finish: (answered: Answered) => void
  /** Whether there is something else to serve. */
  readonly hasOther: () => boolean
}

// How many times as long as for the last scrape the main thread may work without giving way.
const patience = 4

/** Asks the main thread, and notices when it is stuck: then it is asked for nothing until it gives a sign of life. */
class MainThread {
  private readonly waiting = new Map<number, Waiting>()
  private lastId = 0
  private isStuck = false
  private isPinged = false
  private watch: Timer | undefined
  private asked: Array<Asked> = []
  private readonly waitingForSign = new Set<() => void>()

  constructor(
    private readonly post: (message: FromWorker) => void,
    private readonly grace: number,
    private heldFor: number
  ) {}

  receive(message: Exclude<ToWorker, { readonly tag: "Close" | "Renew" | "ReportRead" }>): void {
    this.isStuck = false
    for (const goOn of this.waitingForSign) goOn()
    if (message.tag === "Alive") {
      this.isPinged = false
      this.within(this.grace, () => this.ping())
    } else if (message.tag === "Busy") {
      this.within(this.grace + patience * this.heldFor, () => this.lookElsewhere())
    } else if (message.tag === "NotScraped") this.waiting.get(message.id)?.finish(message)
    else {
      const { exposed, ids } = message
      // Some families alone tell how long all of them take at least.
      this.heldFor = exposed.asked === undefined ? exposed.heldFor : Math.max(this.heldFor, exposed.heldFor)
      for (const id of ids) this.waiting.get(id)?.finish(exposed)
    }
  }

  /**
   * The answer to a scrape, or `undefined` when the main thread shows no sign of life for `grace`, or has shown none
   * since; when it works for much longer than for the last one, and there is something else to serve; when the time is
   * over; or when the client has left.
   */
  async scrape(ask: Ask, hasOther: () => boolean, leaving: Leaving | undefined): Promise<Answered> {
    if (this.isStuck && !(await this.givesSign())) return undefined
    return leaving?.hasLeft ? undefined : this.answerTo(ask, hasOther, leaving)
  }

  private answerTo(ask: Ask, hasOther: () => boolean, leaving: Leaving | undefined): Promise<Answered> {
    this.lastId += 1
    const id = this.lastId
    return new Promise((resolve) => {
      const finish = (answered: Answered): void => {
        clearTimeout(late)
        this.waiting.delete(id)
        if (this.waiting.size === 0) this.within(undefined)
        resolve(answered)
      }
      const giveUp = (): void => {
        this.post({ tag: "Forget", ids: [id] })
        finish(undefined)
      }
      // The main thread keeps to the time itself, unless it is held up.
      const late = setTimeout(giveUp, Math.min(ask.timeout + this.grace, longestTimer))
      if (leaving !== undefined) {
        leaving.onLeave = () => {
          if (this.waiting.has(id)) giveUp()
        }
      }
      this.waiting.set(id, { finish, hasOther })
      this.ask({ id, ask })
    })
  }

  // Those that arrive in the same turn go together, and share what they can.
  private ask(asked: Asked): void {
    this.asked.push(asked)
    if (this.asked.length > 1) return
    void nextTurn().then(() => {
      const scrapes = this.asked.filter(({ id }) => this.waiting.has(id))
      this.asked = []
      if (scrapes.length === 0) return
      this.post({ tag: "Scrape", scrapes })
      if (this.watch === undefined) this.within(this.grace, () => this.giveUp())
    })
  }

  // Nothing is asked of it meanwhile, but what it has done before may just be over.
  private givesSign(): Promise<boolean> {
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

  // It was there, and waits for metrics that take their time. Is it still there?
  private ping(): void {
    this.askForSign()
    this.within(this.grace, () => this.giveUp())
  }

  private askForSign(): void {
    if (this.isPinged) return
    this.isPinged = true
    this.post({ tag: "Ping" })
  }

  private giveUp(): void {
    this.isStuck = true
    this.post({ tag: "Forget", ids: [...this.waiting.keys()] })
    this.askForSign()
    for (const { finish } of [...this.waiting.values()]) finish(undefined)
  }

  private lookElsewhere(): void {
    for (const { finish, hasOther } of [...this.waiting.values()]) if (hasOther()) finish(undefined)
  }

  // Only while something is waited for.
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

/** Serves what the main thread answers, or what it last answered. */
const scraping =
  (main: MainThread, cache: Cache, { staleFor, tellsAge }: WorkerOptions) =>
  async (ask: Ask, leaving?: Leaving): Promise<Scraped> => {
    // Another metric by its name stays, as on a registry.
    const told = (age: number): Told | undefined =>
      tellsAge && !cache.has(ageMetric.name) ? { age, defaults: cache.defaults } : undefined
    const hasOther = (): boolean => (cache.get(ask, staleFor)?.age ?? Number.POSITIVE_INFINITY) <= staleFor
    const answered = await main.scrape(ask, hasOther, leaving)
    if (leaving?.hasLeft) return clientClosed
    if (answered !== undefined) return "status" in answered ? answered : cutFrom(answered, ask, told(0))
    const cached = cache.get(ask, staleFor)
    if (cached === undefined) return stale("has given no numbers yet")
    const { format, families, age } = cached
    if (age > staleFor) return stale(`its last numbers are ${(age / 1e3).toFixed(0)} s old`)
    return exposition(format, families, told(age))
  }

// By the families of each exposition that are asked for, so that those who ask for the same share a body.
const bodies = new WeakMap<Exposed, Map<string, Scraped>>()

const cutFrom = (exposed: Exposed, { names }: Ask, told: Told | undefined): Scraped => {
  const known = bodies.get(exposed) ?? new Map<string, Scraped>()
  bodies.set(exposed, known)
  const asked = names && new Set(names)
  const chosen = exposed.names.flatMap((name, index) => (asked?.has(name) === false ? [] : [index]))
  const key = chosen.join()
  const cut = known.get(key)
  if (cut !== undefined) return cut
  const all = chosen.length === exposed.names.length ? [exposed.bytes] : undefined
  const made = exposition(exposed.format, all ?? cutOf(exposed, chosen), told)
  known.set(key, made)
  return made
}

const cutOf = (exposed: Exposed, chosen: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const families = split(exposed)
  return chosen.flatMap((index) => families[index]?.[1] ?? [])
}

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
