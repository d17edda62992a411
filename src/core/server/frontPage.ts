/** The page on `/`: a small one for health checks, and the explorer for browsers. */
import { pathToFileURL } from "node:url"
import { asksForHtml } from "../exposition/negotiation.js"
import { now } from "../util/realTimers.js"

interface Page {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** Pages are cached by this object. */
export interface FrontPageOptions {
  /** Undefined: `/metrics`. */
  readonly path: string | undefined
  readonly explorer: boolean
}

export const frontPage = async (options: FrontPageOptions, accept: string | undefined): Promise<Page> => {
  if (!options.explorer) return smallPage(options.path)
  // The small page varies as well: a cache must not send it to a browser.
  const vary = { vary: "Accept, Accept-Encoding" }
  const { body, headers } = asksForHtml(accept) ? await explorerOf(options) : smallPage(options.path)
  return { headers: { ...headers, ...vary }, body }
}

// Health checks request this page: its size does not depend on the registry. The link is relative, so that both pages
// can be below the path of a proxy.
const smallPage = (path = "/metrics"): Page => {
  const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Metrics</title></head>
<body><a href=".${path}">Metrics</a></body>
</html>
`
  return { headers: { "content-type": "text/html; charset=utf-8" }, body: new TextEncoder().encode(page) }
}

interface CachedPage {
  readonly page: Promise<Page>
  /** In milliseconds of `now()`. */
  until: number
}

const explorers = new WeakMap<FrontPageOptions, CachedPage>()

// After this time, in milliseconds, a failed load is tried again: a process can be out of file descriptors for a while.
const pause = 1_000

const explorerOf = (options: FrontPageOptions): Promise<Page> => {
  const known = explorers.get(options)
  if (known !== undefined && now() < known.until) return known.page
  const cached: CachedPage = {
    page: newExplorer(options.path).catch(() => {
      cached.until = now() + pause
      return smallPage(options.path)
    }),
    until: Number.POSITIVE_INFINITY
  }
  explorers.set(options, cached)
  return cached.page
}

// Loaded with the first request for it. Without its file, as in a bundle, the small page is served.
const newExplorer = async (path = "/metrics"): Promise<Page> => {
  const { explorerPage } = await loaded()
  return explorerPage(path)
}

let attempts = 0

// Node.js before 24 caches a failure to read a file for ever, by its URL. The error has the path of the file.
const loaded = async (): Promise<typeof import("./explorerPage.js")> => {
  try {
    return await import("./explorerPage.js")
  } catch (error) {
    const { path } = error as NodeJS.ErrnoException
    if (path === undefined) throw error
    attempts += 1
    // Bundlers cannot resolve it. In the CommonJS build, which caches no failure, the error is thrown instead.
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ `${pathToFileURL(path).href}?attempt=${attempts}`)
  }
}
