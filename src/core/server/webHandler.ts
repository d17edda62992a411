/** An endpoint as a function from a web `Request` to a `Response`. */
import { Cancellation } from "../exposition/renderRequest.js"
import { leaveOut } from "../http/scrapeMarker.js"
import { withBytes } from "../util/eventLoopSlices.js"
import { type Endpoint, type EndpointRequest, type EndpointResponse, respond } from "./endpoint.js"

/** `bindings` are those of the framework, such as the `env` of Hono. */
export const webHandler =
  (endpoint: Endpoint) =>
  async (request: Request, bindings?: unknown): Promise<Response> => {
    leaveOut(request)
    const incoming = incomingOf(bindings)
    if (incoming !== undefined) leaveOut(incoming)
    const { status, headers, body, done } = await respondUntil(request.signal, endpoint, {
      method: request.method,
      target: request.url,
      accept: request.headers.get("accept") ?? undefined,
      acceptEncoding: isOfNext(request) ? undefined : (request.headers.get("accept-encoding") ?? undefined),
      scrapeTimeout: request.headers.get("x-prometheus-scrape-timeout-seconds") ?? undefined
    })
    const copy = request.method === "HEAD" ? null : await withBytes(body, () => new Uint8Array(body))
    done?.()
    return new Response(copy, { status, headers })
  }

// Next.js removes the `Content-Encoding` of a route handler's response and compresses the body itself: it would be
// compressed twice. Its requests have this property (tested with Next.js 15 and 16).
const isOfNext = (request: Request): boolean => "nextUrl" in request

const incomingOf = (bindings: unknown): object | undefined => {
  const { incoming } = (bindings ?? {}) as { readonly incoming?: unknown }
  return typeof incoming === "object" && incoming !== null ? incoming : undefined
}

/** Objects that resemble a request may have no `signal`; other requests share one, which outlives them. */
export const respondUntil = async (
  signal: AbortSignal | undefined,
  endpoint: Endpoint,
  request: EndpointRequest
): Promise<EndpointResponse> => {
  const cancellation = new Cancellation(signal?.aborted === true)
  const cancel = (): void => cancellation.cancel()
  signal?.addEventListener("abort", cancel, { once: true })
  try {
    return await respond(endpoint, { ...request, cancellation })
  } finally {
    signal?.removeEventListener("abort", cancel)
  }
}
