/** The main thread's end of the worker: starts it, answers its scrapes, starts it anew if it dies, and ends it. */
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import type { Ask } from "./endpoint.js"
import type { Exposed, FromWorker, ToWorker, WorkerOptions } from "./protocol.js"
import type { Running } from "./server.js"

/** What the worker needs of the main thread. */
export interface ThreadOptions {
  /** The entry file of the worker. */
  readonly url: URL
  readonly options: WorkerOptions
  /** Answers a scrape. It calls `encoding` when all has been read and nothing but encoding is left to do. */
  readonly scrape: (
    ask: Ask,
    encoding: () => void
  ) => Promise<Exposed | { readonly status: 500; readonly message: string }>
  /** Told when the worker has died and is started anew. */
  readonly onCrash: (message: string) => void
}

/** The worker could not be started: its file is missing, or it did not say that it listens. */
export class WorkerStartError extends Error {
  override readonly name = "WorkerStartError"
}

// A worker takes some tens of milliseconds to listen. One that says nothing for so long is not ours.
const startTimeout = 10_000
const restartDelay = 1_000

/** Starts the worker, and waits until it listens. It rejects with a `WorkerStartError`, or as `listen` does. */
export const startThread = async (thread: ThreadOptions): Promise<Running> => {
  let closing = false
  let current = await start(thread, thread.options)
  const { hostname, port } = current
  const revive = async (reason: string): Promise<void> => {
    if (closing) return
    thread.onCrash(reason)
    // The same port as before: it is the one that was registered.
    const options = { ...thread.options, listen: { ...thread.options.listen, port } }
    while (!closing) {
      try {
        current = await start(thread, options)
        current.died.then(revive)
        if (closing) await current.close(0)
        return
      } catch {
        await new Promise((resolve) => setTimeout(resolve, restartDelay).unref())
      }
    }
  }
  current.died.then(revive)
  const close = async (deadline: number): Promise<void> => {
    closing = true
    await current.close(deadline)
  }
  return { hostname, port, close }
}

interface Started extends Running {
  readonly died: Promise<string>
}

const start = ({ url, scrape }: ThreadOptions, options: WorkerOptions): Promise<Started> =>
  new Promise((resolve, reject) => {
    const file = url.protocol === "file:" ? fileURLToPath(url) : url.href
    // Not the application's own flags: a preload (instrumentation, a loader) is not meant for this thread.
    const worker = new Worker(url, { workerData: options, execArgv: [], name: "effect-prometheus" })
    const post = (message: ToWorker, transfer: ReadonlyArray<ArrayBuffer> = []): void =>
      worker.postMessage(message, transfer)
    const answering = answerer(post, scrape)
    const fail = (reason: string, cause?: unknown): void => {
      clearTimeout(patience)
      void worker.terminate()
      reject(new WorkerStartError(`the worker ${file} ${reason}`, { cause }))
    }
    const patience = setTimeout(() => fail(`did not listen within ${startTimeout / 1e3} seconds`), startTimeout)
    let lastError: Error | undefined
    const died = new Promise<string>((over) => {
      worker.once("exit", (code) => {
        fail(`ended with code ${code} before it listened`, lastError)
        over(`the worker ended with code ${code}${lastError === undefined ? "" : `: ${lastError.message}`}`)
      })
    })
    worker.on("error", (error) => {
      lastError = error
      fail(`could not be started: ${error.message}`, error)
    })
    worker.on("message", (message: FromWorker) => {
      if (message.tag === "Listening") {
        clearTimeout(patience)
        resolve({ hostname: message.hostname, port: message.port, died, close: closer(worker, post) })
      } else if (message.tag === "Failed") {
        clearTimeout(patience)
        reject(Object.assign(new Error(message.message), { code: message.code }))
      } else answering(message)
    })
  })

const answerer = (
  post: (message: ToWorker, transfer?: ReadonlyArray<ArrayBuffer>) => void,
  scrape: ThreadOptions["scrape"]
): ((message: FromWorker) => void) => {
  const wanted = new Set<number>()
  const answer = async (id: number, ask: Ask): Promise<void> => {
    const exposed = await scrape(ask, () => post({ tag: "Encoding", id }))
    if ("status" in exposed) post({ tag: "NotScraped", id, ...exposed })
    else post({ tag: "Scraped", id, exposed }, [exposed.bytes.buffer as ArrayBuffer])
  }
  return (message) => {
    if (message.tag === "Ping") post({ tag: "Alive", id: message.id })
    else if (message.tag === "Forget") wanted.delete(message.id)
    else if (message.tag === "Scrape") {
      const { id, ask } = message
      post({ tag: "Alive", id })
      wanted.add(id)
      // After a time in which this thread was stuck, the next messages say which of the scrapes are still waited for.
      setImmediate(() => {
        if (!wanted.delete(id)) return
        answer(id, ask).catch(() =>
          post({ tag: "NotScraped", id, status: 500, message: "the registry could not be read" })
        )
      })
    }
  }
}

// A worker that is stuck itself is ended all the same, a moment after its own deadline.
const closer =
  (worker: Worker, post: (message: ToWorker) => void) =>
  async (deadline: number): Promise<void> => {
    const closed = new Promise<void>((resolve) => {
      const patience = setTimeout(resolve, deadline + 500)
      const done = (): void => {
        clearTimeout(patience)
        resolve()
      }
      worker.on("message", (message: FromWorker) => {
        if (message.tag === "Closed") done()
      })
      worker.once("exit", done)
    })
    post({ tag: "Close", deadline })
    await closed
    await worker.terminate()
  }
