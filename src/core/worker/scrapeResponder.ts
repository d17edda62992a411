/** The main thread's responses to the scrape requests of the worker. */
import { defaultFormat } from "../exposition/formats.js"
import type { WrittenFamily } from "../exposition/render.js"
import { Cancellation, type Rendered, type RenderedBytes } from "../exposition/renderRequest.js"
import type { ScrapeRequest } from "../server/endpoint.js"
import type { Scrape } from "../server/scrape.js"
import type { Progress } from "../util/eventLoopSlices.js"
import { nextTurn, sleep } from "../util/realTimers.js"
import type { FromWorker, SentExposition, ToWorker } from "./messages.js"

/** Moves the memory of `transfer` to the worker. */
export type Post = (message: ToWorker, transfer?: ReadonlyArray<ArrayBuffer>) => void

// How long the first exposition may take, in milliseconds.
const firstTimeout = 2_000

/** `undefined` if it takes too long: a hanging metric must not delay the start. */
export const firstExposition = async (
  scrape: Scrape,
  timeout: number,
  signal: AbortSignal
): Promise<SentExposition | undefined> => {
  const done = new AbortController()
  const late = sleep(firstTimeout, AbortSignal.any([signal, done.signal])).catch(() => {})
  const request = {
    format: defaultFormat,
    names: undefined,
    timeout: Math.min(timeout, firstTimeout),
    // A metric that is late now may be in time at a scrape.
    hasShortDeadline: true
  } as const
  const rendered = await Promise.race([scrape(request, { owner: {} }), late])
  done.abort()
  return rendered === undefined || "status" in rendered ? undefined : sentExposition([{ request, rendered }])
}

interface RenderedScrape {
  readonly request: ScrapeRequest
  readonly rendered: Rendered
}

// One exposition for all scrapes that share a render.
const sentExposition = async (
  scrapes: readonly [RenderedScrape, ...ReadonlyArray<RenderedScrape>]
): Promise<SentExposition> => {
  const [{ request, rendered }] = scrapes
  const { defaults, longestBlock, source } = rendered
  const families = familiesOf(scrapes)
  const isWhole = scrapes.some(({ request }) => request.names === undefined)
  const bytes = await source.copyOf(families)
  for (const { rendered } of scrapes) rendered.done()
  return {
    format: request.format,
    requested: isWhole ? undefined : [...new Set(scrapes.flatMap(({ request }) => request.names ?? []))],
    names: families.map(({ name }) => name),
    lengths: families.map(({ length }) => length),
    bytes,
    defaults,
    longestBlock
  }
}

// The families of all scrapes: a metric may have responded after some of them, and before others.
const familiesOf = (scrapes: ReadonlyArray<RenderedScrape>): ReadonlyArray<WrittenFamily> => {
  const [first = [], ...others] = new Set(scrapes.map(({ rendered }) => rendered.families))
  if (others.length === 0) return first
  return [...new Set([...first, ...others.flat()])].sort((one, other) => one.index - other.index)
}

export const scrapeResponder = (post: Post, scrape: Scrape): ((message: FromWorker) => void) => {
  const owner = {}
  const waiting = new Map<number, Cancellation>()
  const onProgress = (progress: Progress): void => post({ tag: progress === "busy" ? "Busy" : "Alive" })
  // Scrapes whose render is finished, until they are sent together.
  const finished = new Map<RenderedBytes, Array<RenderedScrape & { readonly id: number }>>()

  const respond = async (id: number, request: ScrapeRequest, cancellation: Cancellation): Promise<void> => {
    const rendered = await scrape(request, { owner, cancellation, onProgress })
    if ("status" in rendered) {
      if (waiting.delete(id)) post({ tag: "ScrapeFailed", id, ...rendered })
      return
    }
    const { source } = rendered
    const together = finished.get(source)
    if (together !== undefined) {
      together.push({ id, request, rendered })
      return
    }
    const first = { id, request, rendered }
    const all = [first] as [typeof first, ...Array<typeof first>]
    finished.set(source, all)
    await nextTurn()
    finished.delete(source)
    try {
      const exposition = await sentExposition(all)
      const ids = all.map(({ id }) => id).filter((id) => waiting.delete(id))
      post({ tag: "Scraped", ids, exposition }, [exposition.bytes.buffer as ArrayBuffer])
    } catch {
      for (const { id } of all) fail(id)
    }
  }
  const fail = (id: number): void => {
    if (!waiting.delete(id)) return
    post({ tag: "ScrapeFailed", id, status: 500, cause: "registry", message: "the registry could not be read" })
  }
  const forget = (id: number): void => {
    const cancellation = waiting.get(id)
    waiting.delete(id)
    cancellation?.cancel()
  }
  return (message) => {
    if (message.tag === "Ping") post({ tag: "Alive" })
    else if (message.tag === "Forget") message.ids.forEach(forget)
    else if (message.tag === "Scrape") {
      post({ tag: "Alive" })
      const scrapes = message.scrapes.map(({ request, id }) => {
        const cancellation = new Cancellation()
        waiting.set(id, cancellation)
        return { request, id, cancellation }
      })
      // After this thread was blocked, the next messages say which of the scrapes are still needed.
      void nextTurn().then(() => {
        for (const { request, id, cancellation } of scrapes) {
          if (!cancellation.isCancelled) respond(id, request, cancellation).catch(() => fail(id))
        }
      })
    }
  }
}
