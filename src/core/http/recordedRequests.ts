/** The requests of Node.js that are recorded, and on which metrics: other measurements of the same request need to know. */
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { HttpSource } from "./metrics.js"

/** The sources on whose metrics a request is recorded. */
export type Recorded = ReadonlyArray<HttpSource>

export const none: Recorded = []

const recorded = oncePerProcess("sources of recorded requests", () => ({
  hasAny: false,
  // A property of the request: a WeakMap would cost the garbage collector more.
  key: Symbol("effect-prometheus/httpMetrics"),
  // Of requests that cannot have another property.
  others: new WeakMap<object, Recorded>()
}))

interface Marked {
  [key: symbol]: Recorded | undefined
}

/** `none` if there are none. */
export const recordedOn = (request: object): Recorded =>
  recorded.hasAny ? ((request as Marked)[recorded.key] ?? recorded.others.get(request) ?? none) : none

export const recordOn = (request: object, sources: Recorded): void => {
  recorded.hasAny = true
  if (Object.isExtensible(request)) (request as Marked)[recorded.key] = sources
  else recorded.others.set(request, sources)
}
