/** Which scrapes of a registry share a render, and when it begins. */
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import { nextTurn } from "../util/realTimers.js"
import type { Format } from "./formats.js"
import type { RegistryReader } from "./model.js"
import type { Cancellation, Rendered, RenderMode, RenderRequest } from "./renderRequest.js"
import { SharedRender } from "./sharedRender.js"

export interface SharedRenderOptions extends Pick<RenderMode, "onProgress"> {
  /** Requests with the same owner share a render. */
  readonly owner: object
  readonly cancellation?: Cancellation | undefined
}

// For each owner and format. A further render takes over the requests of the last.
const mostWaiting = 4

const running = oncePerProcess("shared renders", () => new WeakMap<object, Map<Format, Array<SharedRender>>>())

/** Shared by `owner`. Undefined if the request is cancelled. Rejects if the registry cannot be read. */
export const renderShared = (
  owner: object,
  reader: RegistryReader,
  format: Format,
  request: RenderRequest,
  mode: RenderMode
): Promise<Rendered | undefined> => {
  const formats = getOrInsert(running, owner, () => new Map())
  const renders = getOrInsert(formats, format, () => [])
  const last = renders.at(-1)
  const isFull = renders.length >= mostWaiting
  if (last?.suits(request, isFull)) return last.join(request)
  const render = new SharedRender(reader, format, request.names, mode, isFull ? last : undefined)
  renders.push(render)
  const result = render.join(request)
  void sameTurn()
    .then(() => render.run())
    // `onProgress` may throw. The requests get their results anyway.
    .catch(() => {})
    .then(() => void renders.splice(renders.indexOf(render), 1))
  return result
}

export const renderAlone = (
  reader: RegistryReader,
  format: Format,
  request: RenderRequest,
  mode: RenderMode
): Promise<Rendered | undefined> => {
  const render = new SharedRender(reader, format, request.names, mode)
  const result = render.join(request)
  void render.run().catch(() => {})
  return result
}

// Shared by the renders that begin in it, so that requests that arrive together share the collections of one render.
const turn = oncePerProcess<{ end: Promise<void> | undefined }>("turn of renders", () => ({ end: undefined }))

const sameTurn = (): Promise<void> => {
  turn.end ??= nextTurn().then(() => {
    turn.end = undefined
  })
  return turn.end
}
