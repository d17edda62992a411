/** Starts the worker, answers its messages, and closes it. */
import { Worker } from "node:worker_threads"
import type { ScrapeEvent } from "../registry/scrapeRecorder.js"
import type { ListeningServer } from "../server/listen.js"
import type { Scrape } from "../server/scrape.js"
import type { ServerSettings } from "../server/serverOptions.js"
import type { TlsMaterial } from "../server/tls/secureContext.js"
import { clearTimeout, setTimeout, type Timer } from "../util/realTimers.js"
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
  readonly scrape: Scrape
  readonly onEvent: (event: ScrapeEvent) => void
}

export interface WorkerServer extends ListeningServer {
  /** Resolves to the reason. */
  readonly died: Promise<string>
}

// In milliseconds. Our worker takes some tens of them; another file may never send a message.
const startTimeout = 10_000

/** Resolves when it listens. Rejects with a `WorkerStartError`, or as `listen` does. */
export const startWorker = async (
  { url, scrape, onEvent }: WorkerThread,
  settings: ServerSettings,
  signal: AbortSignal
): Promise<WorkerServer> => {
  const first = await firstExposition(scrape, settings.scrapeTimeout, signal)
  signal.throwIfAborted()
  // `unref` is about this thread. The worker's own event loop must not end.
  const workerData: WorkerStartData = { settings: { ...settings, unref: false }, first }
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
    let lastError: unknown
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
      fail(new WorkerStartError(`the worker ${url.href} ${reason}`, { cause: lastError }))
    const abort = (): void => failed("was closed before it listened")
    signal.addEventListener("abort", abort)
    const patience = setTimeout(() => failed(`did not listen within ${startTimeout / 1e3} seconds`), startTimeout)
    const died = new Promise<string>((over) => {
      worker.once("exit", (code) => {
        recorder.gone()
        failed(`exited with code ${code} before it listened`)
        over(`the worker exited with code ${code}${lastError === undefined ? "" : `: ${messageOf(lastError)}`}`)
      })
    })
    worker.on("error", (error) => {
      lastError = error
      failed(`could not be started: ${messageOf(error)}${isMissing(error) ? ifBundled : ""}`)
    })
    const receive = (message: FromWorker): void => {
      if (message.tag === "Failed") fail(Object.assign(new Error(message.message), { code: message.code }))
      else if (message.tag === "Listening") {
        if (isOver) return
        listened()
        if (settings.unref) worker.unref()
        const { hostname, port } = message
        const renew = (tls: TlsMaterial): void => post({ tag: "Renew", tls })
        const end = closer(worker, died, post)
        const close = (deadline: number): Promise<void> => end(deadline).then(() => recorder.settled())
        resolve({ hostname, port, died, close, renew })
      } else if (message.tag === "Report") recorder.record(message.report, () => post({ tag: "ReportRead" }))
      else onScrapeMessage(message)
    }
    worker.on("message", (message) => {
      try {
        receive(message)
      } catch {
        // Another entry file can send anything.
      }
    })
  })
}

// An entry file can throw anything.
const isMissing = (error: unknown): boolean =>
  (error as NodeJS.ErrnoException | null | undefined)?.code === "ERR_MODULE_NOT_FOUND" ||
  /^Cannot find module/.test(messageOf(error))

const ifBundled =
  "; if the application is bundled, set workerUrl or copy dist/esm/worker.mjs beside the bundle " +
  "(in Next.js: outputFileTracingIncludes)"

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
