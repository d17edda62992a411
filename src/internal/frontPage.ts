/** What is on `/`: a small page for health checks, and for browsers the explorer. */
import type { Endpoint } from "./endpoint.js"
import { asksForHtml } from "./negotiation.js"

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

const explorers = new WeakMap<Endpoint, Promise<Page>>()

const explorerOf = (endpoint: Endpoint): Promise<Page> => {
  const known = explorers.get(endpoint)
  if (known !== undefined) return known
  const page = madeExplorer(endpoint.path)
  explorers.set(endpoint, page)
  return page
}

// Only where somebody looks at it, so that nobody else loads it. Where a bundle has left it behind there is a link still.
const madeExplorer = async (path = "/metrics"): Promise<Page> => {
  try {
    const { explorerPage } = await import("./explorerPage.js")
    return explorerPage(path)
  } catch {
    return smallPage(path)
  }
}
