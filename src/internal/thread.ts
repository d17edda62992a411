/** The main thread's end of the worker: starts it, answers its scrapes, starts it anew if it dies, and ends it. */

import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import type { Ask, NotScraped } from "./endpoint.js"
import { messageOf } from "./message.js"
import type { Progress } from "./pace.js"
import type { Exposed, FromWorker, ToWorker, WorkerOptions } from "./protocol.js"
import type { WrittenFamily } from "./render.js"
import { ScrapeRecorder } from "./scrapeReport.js"
import type { TlsMaterial } from "./secureContext.js"
import type { ScrapeEvent } from "./selfMetrics.js"
import type { Running } from "./server.js"
import type { Leaving, Rendered, SharedRender } from "./sharedRender.js"
import type { Sharing } from "./sharing.js"
import type { Timer } from "./timer.js"
import { clearTimeout, nextTurn, now, setTimeout, sleep } from "./timer.js"
import { WorkerStartError } from "./workerStartError.js"

/** What the worker needs of the main thread. */
export interface ThreadOptions {
  /** The entry file of the worker. */
  readonly url: URL
  readonly options: Omit<WorkerOptions, "first">
  readonly scrape: (ask: Ask, sharing: Sharing) => Promise<Rendered | NotScraped>
  /** Told what has become of each request for the metrics. */
  readonly tell: (event: ScrapeEvent) => void
  /** Told when the worker has died, and when it could not be started anew. */
  readonly onTrouble: (message: string) => void
}

// A worker takes some tens of milliseconds to listen. One that says nothing for so long is not ours.
const startTimeout = 10_000
const firstTimeout = 2_000
const firstDelay = 1_000
const longestDelay = 30_000

/** Starts the worker, and waits until it listens. It rejects with a `WorkerStartError`, or as `listen` does. */
export const startThread = async (thread: ThreadOptions): Promise<Running> => {
  const closing = new AbortController()
  let current = await start(thread, thread.options, closing.signal)
  let reviving: Promise<void> | undefined
  const { hostname, port } = current
  // The same port as before: it is the one that was registered.
  let options = { ...thread.options, listen: { ...thread.options.listen, port } }

  const rest = (milliseconds: number): Promise<unknown> => sleep(milliseconds, closing.signal).catch(() => {})
  const revive = async (pause: number): Promise<void> => {
    await rest(pause)
    for (let delay = firstDelay; !closing.signal.aborted; delay = Math.min(2 * delay, longestDelay)) {
      const given = options
      try {
        current = await start(thread, given, closing.signal)
        if (options !== given && options.listen.tls !== undefined) current.renew(options.listen.tls)
        return watch()
      } catch (error) {
        if (closing.signal.aborted) return
        thread.onTrouble(`the worker could not be started anew: ${messageOf(error)}`)
        await rest(delay)
      }
    }
  }
  const watch = (): void => {
    const since = now()
    current.died.then((reason) => {
      if (closing.signal.aborted) return
      thread.onTrouble(`${reason}; it is started anew`)
      // One that dies as soon as it lives would keep this thread busy with its successors.
      reviving = revive(now() - since < firstDelay ? firstDelay : 0)
    })
  }
  watch()

  const close = async (deadline: number): Promise<void> => {
    closing.abort()
    await reviving
    await current.close(deadline)
  }
  // Also for a worker that is started anew later, or just now.
  const renew = (tls: TlsMaterial): void => {
    options = { ...options, listen: { ...options.listen, tls } }
    current.renew(tls)
  }
  return { hostname, port, close, renew }
}

interface Started extends Running {
  readonly died: Promise<string>
}

const start = async (
  { url, scrape, tell }: ThreadOptions,
  options: Omit<WorkerOptions, "first">,
  signal: AbortSignal
): Promise<Started> => {
  const first = await firstExposition(scrape, options.scrapeTimeout, signal)
  signal.throwIfAborted()
  const workerData: WorkerOptions = { ...options, first }
  const file = url.protocol === "file:" ? fileURLToPath(url) : url.href
  // Not the application's own flags: a preload (instrumentation, a loader) is not meant for this thread.
  const env = { ...process.env, NODE_OPTIONS: "" }
  const worker = newWorker(url, { workerData, execArgv: [], env, name: "effect-prometheus" })
  const post = (message: ToWorker, transfer: ReadonlyArray<ArrayBuffer> = []): void =>
    worker.postMessage(message, transfer)
  const recorder = new ScrapeRecorder(tell)
  const answering = answerer(post, async (ask, sharing) => {
    await recorder.settled()
    return scrape(ask, sharing)
  })

  return new Promise((resolve, reject) => {
    let lastError: Error | undefined
    let isOver = false
    const listened = (): void => {
      clearTimeout(patience)
      signal.removeEventListener("abort", abort)
    }
    const fail = (error: Error): void => {
      listened()
      if (isOver) return
      isOver = true
      // Until it has ended it may still have the port.
      worker.terminate().finally(() => reject(error))
    }
    const failed = (reason: string): void =>
      fail(new WorkerStartError(`the worker ${file} ${reason}`, { cause: lastError }))
    const abort = (): void => failed("was not waited for")
    signal.addEventListener("abort", abort)
    const patience = setTimeout(() => failed(`did not listen within ${startTimeout / 1e3} seconds`), startTimeout)
    const died = new Promise<string>((over) => {
      worker.once("exit", (code) => {
        recorder.gone()
        failed(`ended with code ${code} before it listened`)
        over(`the worker ended with code ${code}${lastError === undefined ? "" : `: ${lastError.message}`}`)
      })
    })
    worker.on("error", (error) => {
      lastError = error
      failed(`could not be started: ${error.message}${isMissing(error) ? ifBundled : ""}`)
    })
    worker.on("message", (message: FromWorker | undefined | null) => {
      // An entry file that is not ours can say anything.
      if (message?.tag === undefined) return
      if (message.tag === "Failed") fail(Object.assign(new Error(message.message), { code: message.code }))
      else if (message.tag === "Listening") {
        listened()
        const { hostname, port } = message
        const renew = (tls: TlsMaterial): void => post({ tag: "Renew", tls })
        const end = closer(worker, died, post)
        const close = (deadline: number): Promise<void> => end(deadline).then(() => recorder.settled())
        resolve({ hostname, port, died, close, renew })
      } else if (message.tag === "Report") recorder.record(message.report, () => post({ tag: "ReportRead" }))
      else answering(message)
    })
  })
}

const isMissing = (error: Error): boolean =>
  (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND" || /^Cannot find module/.test(error.message)

const ifBundled = "; if the application is bundled, give workerUrl or copy dist/internal beside the bundle"

// A URL that is none of a file is refused at once.
const newWorker = (url: URL, options: ConstructorParameters<typeof Worker>[1]): Worker => {
  try {
    return new Worker(url, options)
  } catch (cause) {
    throw new WorkerStartError(`the worker ${url.href} could not be started: ${messageOf(cause)}`, { cause })
  }
}

// Before the server is ready, so that it has something to serve at once; but a collector that hangs holds nothing up.
const firstExposition = async (
  scrape: ThreadOptions["scrape"],
  timeout: number,
  signal: AbortSignal
): Promise<Exposed | undefined> => {
  const done = new AbortController()
  const late = sleep(firstTimeout, AbortSignal.any([signal, done.signal])).catch(() => {})
  const ask = { format: "text", names: undefined, timeout, isHurried: false } as const
  const rendered = await Promise.race([scrape(ask, { owner: {} }), late])
  done.abort()
  return rendered === undefined || "status" in rendered ? undefined : exposed([{ ask, rendered }])
}

/** What has come of one of the scrapes. */
interface Answered {
  readonly ask: Ask
  readonly rendered: Rendered
}

// One exposition for scrapes that share a render.
const exposed = async (answers: readonly [Answered, ...ReadonlyArray<Answered>]): Promise<Exposed> => {
  const [{ ask, rendered }] = answers
  const { defaults, heldFor, source } = rendered
  const families = familiesOf(answers)
  const isWhole = answers.some(({ ask }) => ask.names === undefined)
  const bytes = await source.copyOf(families)
  for (const { rendered } of answers) rendered.done()
  return {
    format: ask.format,
    asked: isWhole ? undefined : [...new Set(answers.flatMap(({ ask }) => ask.names ?? []))],
    names: families.map(({ name }) => name),
    lengths: families.map(({ length }) => length),
    bytes,
    defaults,
    heldFor
  }
}

// All that one of them has: a metric may have answered after some of them, and before others.
const familiesOf = (answers: ReadonlyArray<Answered>): ReadonlyArray<WrittenFamily> => {
  const [first = [], ...others] = new Set(answers.map(({ rendered }) => rendered.families))
  if (others.length === 0) return first
  return [...new Set([...first, ...others.flat()])].sort((one, other) => one.index - other.index)
}

const answerer = (
  post: (message: ToWorker, transfer?: ReadonlyArray<ArrayBuffer>) => void,
  scrape: ThreadOptions["scrape"]
): ((message: FromWorker) => void) => {
  const owner = {}
  const wanted = new Map<number, Leaving>()
  const onProgress = (progress: Progress): void => post({ tag: progress === "busy" ? "Busy" : "Alive" })
  // Those whose render is over, until they are answered together.
  const answered = new Map<SharedRender, Array<Answered & { readonly id: number }>>()

  const answer = async (id: number, ask: Ask, leaving: Leaving): Promise<void> => {
    const rendered = await scrape(ask, { owner, leaving, onProgress })
    if ("status" in rendered) {
      if (wanted.delete(id)) post({ tag: "NotScraped", id, ...rendered })
      return
    }
    const { source } = rendered
    const together = answered.get(source)
    if (together !== undefined) {
      together.push({ id, ask, rendered })
      return
    }
    const first = { id, ask, rendered }
    const all = [first] as [typeof first, ...Array<typeof first>]
    answered.set(source, all)
    await nextTurn()
    answered.delete(source)
    try {
      const exposition = await exposed(all)
      const ids = all.map(({ id }) => id).filter((id) => wanted.delete(id))
      post({ tag: "Scraped", ids, exposed: exposition }, [exposition.bytes.buffer as ArrayBuffer])
    } catch {
      for (const { id } of all) fail(id)
    }
  }
  const fail = (id: number): void => {
    if (!wanted.delete(id)) return
    post({ tag: "NotScraped", id, status: 500, cause: "registry", message: "the registry could not be read" })
  }
  return (message) => {
    if (message.tag === "Ping") post({ tag: "Alive" })
    else if (message.tag === "Forget") {
      for (const id of message.ids) {
        const leaving = wanted.get(id)
        wanted.delete(id)
        if (leaving === undefined) continue
        leaving.hasLeft = true
        leaving.onLeave?.()
      }
    } else if (message.tag === "Scrape") {
      post({ tag: "Alive" })
      const asked = message.scrapes.map(({ ask, id }) => {
        const leaving: Leaving = { hasLeft: false, onLeave: undefined }
        wanted.set(id, leaving)
        return { ask, id, leaving }
      })
      // After a time in which this thread was stuck, the next messages say which of the scrapes are still waited for.
      void nextTurn().then(() => {
        for (const { ask, id, leaving } of asked) {
          if (leaving.hasLeft) continue
          answer(id, ask, leaving).catch(() => fail(id))
        }
      })
    }
  }
}

// A worker that is stuck itself is ended all the same, a moment after its own deadline.
const closer =
  (worker: Worker, died: Promise<string>, post: (message: ToWorker) => void) =>
  async (deadline: number): Promise<void> => {
    let patience: Timer | undefined
    const closed = new Promise<void>((resolve) => {
      patience = setTimeout(resolve, deadline + 500)
      worker.on("message", (message: FromWorker | undefined | null) => {
        if (message?.tag === "Closed") resolve()
      })
    })
    post({ tag: "Close", deadline })
    await Promise.race([closed, died])
    clearTimeout(patience)
    await worker.terminate()
  }
