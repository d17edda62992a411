/** Requests the metrics, again and again while the page is visible. */
import { sleepingClock } from "./clock.js"
import { reading } from "./parse.js"
import type { Store } from "./store.js"

/** The result of one request. */
export type Look =
  | { readonly tag: "Begun" }
  | { readonly tag: "Seen"; readonly at: Date; readonly milliseconds: number; readonly characters: number }
  | { readonly tag: "Failed"; readonly message: string }

/** The pause between two requests, in milliseconds. */
const pause = 5_000
// An exposition that takes long is requested less often: the server has other things to do.
const restPerWork = 10
// The page waits for a scrape no longer than the server does.
const patience = 60_000
// How long the metrics are parsed before the page can respond, in milliseconds.
const slice = 8

/** Requests the metrics, and pauses. */
export class Looking {
  isPaused = false
  /** Whether a request is in flight, or its response is being parsed. */
  isBusy = false
  private timer: ReturnType<typeof setTimeout> | undefined
  private last = Number.NEGATIVE_INFINITY
  private rest = pause
  private readonly clock = sleepingClock()

  constructor(
    private readonly url: string,
    private readonly store: Store,
    private readonly onLook: (look: Look) => void
  ) {
    document.addEventListener("visibilitychange", () => this.schedule())
  }

  /** Requests the metrics now, unless a request is in flight. */
  async look(): Promise<void> {
    if (this.isBusy) return
    this.isBusy = true
    clearTimeout(this.timer)
    const began = performance.now()
    this.last = began
    this.onLook({ tag: "Begun" })
    const look = await this.looked().catch(failed)
    this.rest = Math.max(pause, restPerWork * (performance.now() - began))
    this.isBusy = false
    this.onLook(look)
    this.schedule()
  }

  pause(): void {
    this.isPaused = true
    clearTimeout(this.timer)
  }

  resume(): void {
    this.isPaused = false
    this.schedule()
  }

  // A hidden page requests nothing.
  private schedule(): void {
    clearTimeout(this.timer)
    if (this.isPaused || this.isBusy || document.visibilityState === "hidden") return
    const left = Math.max(0, this.last + this.rest - performance.now())
    this.timer = setTimeout(() => void this.look(), left)
  }

  private async looked(): Promise<Look> {
    const began = performance.now()
    const signal = AbortSignal.timeout(patience)
    const headers = { accept: "text/plain;version=0.0.4" }
    const response = await fetch(this.url, { headers, cache: "no-store", redirect: "manual", signal })
    const text = await response.text()
    const isPage = response.headers.get("content-type")?.startsWith("text/html") ?? false
    // A proxy before the server asks for a login, as it did for this page.
    if (response.type === "opaqueredirect" || (response.ok && isPage)) return { tag: "Failed", message: elsewhere }
    if (!response.ok) return refused(response.status, text)
    const at = new Date()
    const milliseconds = performance.now() - began
    this.store.begin(this.clock())
    await inSlices(reading(text, this.store))
    await inSlices(this.store.ending())
    return { tag: "Seen", at, milliseconds, characters: text.length }
  }
}

const inSlices = async (steps: Iterable<void>): Promise<void> => {
  let until = performance.now() + slice
  for (const _ of steps) {
    if (performance.now() < until) continue
    await turn()
    until = performance.now() + slice
  }
}

const elsewhere =
  "The answer is another page in place of the metrics: to log in, perhaps, for which this one is to be loaded anew"

const refused = (status: number, text: string): Look => {
  const line = text.trim().split("\n", 1)[0] ?? ""
  return { tag: "Failed", message: `The server answers ${status}${line === "" ? "" : `: ${line.slice(0, 300)}`}` }
}

const failed = (error: unknown): Look => {
  const isLate = error instanceof DOMException && error.name === "TimeoutError"
  return { tag: "Failed", message: isLate ? "The server does not answer" : "The server cannot be reached" }
}

// Lets the page respond.
const turn = (): Promise<void> =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(undefined)
  })
