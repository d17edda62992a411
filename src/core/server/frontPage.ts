/** What is on `/`: a small page for health checks, and for browsers the explorer. */
import { pathToFileURL } from "node:url"
import type { Endpoint } from "./endpoint.js"
import { asksForHtml } from "./negotiation.js"
import { now } from "./timer.js"

/** A page, whatever it is sent as. */
export interface Page {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** The page for whoever accepts that. */
export const frontPage = async (endpoint: Endpoint, accept: string | undefined): Promise<Page> => {
  if (!endpoint.explorer) return smallPage(endpoint.path)
  // Also the small one is one of two: a cache must not hand it to a browser.
  const vary = { vary: "Accept, Accept-Encoding" }
  const { body, headers } = asksForHtml(accept) ? await explorerOf(endpoint) : smallPage(endpoint.path)
  return { headers: { ...headers, ...vary }, body }
}

// The same bytes whatever the registry's size: it is what health checks ask for. The link leads from where the page is, so
// that both can be below a path of a proxy.
const smallPage = (path = "/metrics"): Page => {
  const page = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Metrics</title></head>
<body><a href=".${path}">Metrics</a></body>
</html>
`
  return { headers: { "content-type": "text/html; charset=utf-8" }, body: new TextEncoder().encode(page) }
}

interface Made {
  readonly page: Promise<Page>
  /** The moment of `now()` from which on it is made anew. */
  until: number
}

const explorers = new WeakMap<Endpoint, Made>()

// Where the explorer cannot be loaded, it is tried again after so many milliseconds. A process can be out of file
// descriptors; where a bundle has left the file behind, that costs next to nothing.
const pause = 1_000

const explorerOf = (endpoint: Endpoint): Promise<Page> => {
  const known = explorers.get(endpoint)
  if (known !== undefined && now() < known.until) return known.page
  const made: Made = {
    page: madeExplorer(endpoint.path).catch(() => {
      made.until = now() + pause
      return smallPage(endpoint.path)
    }),
    until: Number.POSITIVE_INFINITY
  }
  explorers.set(endpoint, made)
  return made.page
}

// Only where somebody looks at it, so that nobody else loads it. Where a bundle has left it behind there is a link still.
const madeExplorer = async (path = "/metrics"): Promise<Page> => {
  const { explorerPage } = await loaded()
  return explorerPage(path)
}

let attempts = 0

// Node.js before 24 remembers for ever, by its URL, that a file could not be read. It says which file that is.
const loaded = async (): Promise<typeof import("./explorerPage.js")> => {
  try {
    return await import("./explorerPage.js")
  } catch (error) {
    const { path } = error as NodeJS.ErrnoException
    if (path === undefined) throw error
    attempts += 1
    const url = `${pathToFileURL(path).href}?attempt=${attempts}`
    // No bundler can know it.
    return await import(/* webpackIgnore: true */ /* @vite-ignore */ url)
  }
}
