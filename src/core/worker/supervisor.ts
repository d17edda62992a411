/** Starts the worker, restarts it when it dies, and closes it. */
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import type { ScrapeEvent } from "../registry/selfMetrics.js"
import type { ListeningServer } from "../server/listen.js"
import type { Scrape } from "../server/scrape.js"
import type { ServerSettings } from "../server/serverOptions.js"
import type { TlsMaterial } from "../server/tls/secureContext.js"
import { clearTimeout, now, setTimeout, sleep, type Timer } from "../util/realTimers.js"
import { messageOf } from "../util/text.js"
import type { FromWorker, WorkerStartData } from "./messages.js"
import { ReportRecorder } from "./scrapeReport.js"
import { firstExposition, type Post, scrapeResponder } from "./scrapeResponder.js"

/** Its file is missing, or it did not listen in time. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError"
}

export interface WorkerThread {
  readonly url: URL
  readonly settings: ServerSettings
  readonly scrape: Scrape
  readonly onEvent: (event: ScrapeEvent) => void
  /** The worker has died, or could not be restarted. */
  readonly onTrouble: (message: string) => void
}

// In milliseconds. Our worker takes some tens of them; another file may never send a message.
const startTimeout = 10_000
const firstDelay = 1_000
const longestDelay = 30_000

/** Resolves when it listens. Rejects with a `WorkerStartError`, or as `listen` does. */
export const startWorker = async (thread: WorkerThread): Promise<ListeningServer> => {
  const closing = new AbortController()
  let current = await start(thread, thread.settings, closing.signal)
  let restarting: Promise<void> | undefined
  const { hostname, port } = current
  // The port stays the same, because it is registered.
  let settings: ServerSettings = { ...thread.settings, port }

  const pause = (milliseconds: number): Promise<unknown> => sleep(milliseconds, closing.signal).catch(() => {})
  const restart = async (firstPause: number): Promise<void> => {
    await pause(firstPause)
    for (let delay = firstDelay; !closing.signal.aborted; delay = Math.min(2 * delay, longestDelay)) {
      const given = settings
      try {
        current = await start(thread, given, closing.signal)
        if (settings !== given && settings.tls !== undefined) current.renew(settings.tls)
        return watch()
      } catch (error) {
        if (closing.signal.aborted) return
        thread.onTrouble(`the worker could not be restarted: ${messageOf(error)}`)
        await pause(delay)
      }
    }
  }
  const watch = (): void => {
    const since = now()
    current.died.then((reason) => {
      if (closing.signal.aborted) return
      thread.onTrouble(`${reason}; restarting it`)
      // A worker that dies at its start would keep this thread busy with restarts.
      restarting = restart(now() - since < firstDelay ? firstDelay : 0)
    })
  }
  watch()

  const close = async (deadline: number): Promise<void> => {
    closing.abort()
    await restarting
    await current.close(deadline)
  }
  // Also for a worker that is restarted later, or at this moment.
  const renew = (tls: TlsMaterial): void => {
    settings = { ...settings, tls }
    current.renew(tls)
  }
  return { hostname, port, close, renew }
}

interface StartedWorker extends ListeningServer {
  /** Resolves to the reason. */
  readonly died: Promise<string>
}

const start = async (
  { url, scrape, onEvent }: WorkerThread,
  settings: ServerSettings,
  signal: AbortSignal
): Promise<StartedWorker> => {
  const first = await firstExposition(scrape, settings.scrapeTimeout, signal)
  signal.throwIfAborted()
  const workerData: WorkerStartData = { settings, first }
  const file = url.protocol === "file:" ? fileURLToPath(url) : url.href
  // Without the application's own flags: its preloads (instrumentation, a loader) are not meant for this thread.
  const env = { ...process.env, NODE_OPTIONS: "" }
  const worker = newWorker(url, { workerData, execArgv: [], env, name: "effect-prometheus" })
  const post: Post = (message, transfer = []) => worker.postMessage(message, transfer)
  const recorder = new ReportRecorder(onEvent)
  const onScrapeMessage = scrapeResponder(post, async (request, sharing) => {
    await recorder.settled()
    return scrape(request, sharing)
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
      // It may hold the port until it has ended.
      worker.terminate().finally(() => reject(error))
    }
    const failed = (reason: string): void =>
      fail(new WorkerStartError(`the worker ${file} ${reason}`, { cause: lastError }))
    const abort = (): void => failed("was closed before it listened")
    signal.addEventListener("abort", abort)
    const patience = setTimeout(() => failed(`did not listen within ${startTimeout / 1e3} seconds`), startTimeout)
    const died = new Promise<string>((over) => {
      worker.once("exit", (code) => {
        recorder.gone()
        failed(`exited with code ${code} before it listened`)
        over(`the worker exited with code ${code}${lastError === undefined ? "" : `: ${lastError.message}`}`)
      })
    })
    worker.on("error", (error) => {
      lastError = error
      failed(`could not be started: ${error.message}${isMissing(error) ? ifBundled : ""}`)
    })
    worker.on("message", (message: FromWorker | undefined | null) => {
      // Another entry file can send anything.
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
      else onScrapeMessage(message)
    })
  })
}

const isMissing = (error: Error): boolean =>
  (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND" || /^Cannot find module/.test(error.message)

const ifBundled = "; if the application is bundled, set workerUrl or copy dist/worker.mjs beside the bundle"

const newWorker = (url: URL, options: ConstructorParameters<typeof Worker>[1]): Worker => {
  try {
    return new Worker(url, options)
  } catch (cause) {
    throw new WorkerStartError(`the worker ${url.href} could not be started: ${messageOf(cause)}`, { cause })
  }
}

// A worker that is blocked is terminated a moment after its own deadline.
const closer =
  (worker: Worker, died: Promise<string>, post: Post) =>
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
