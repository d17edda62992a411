/** Which scrapes of a registry share a render, and when it begins. */
import type { Format } from "./negotiation.js"
import type { Readable } from "./render.js"
import type { Leaving, Rendered, Wanted, Way } from "./sharedRender.js"
import { SharedRender } from "./sharedRender.js"
import { nextTurn } from "./timer.js"

/** With whom a render is shared, and how it is followed. */
export interface Sharing extends Pick<Way, "onProgress"> {
  /** Those with the same owner share a render. */
  readonly owner: object
  readonly leaving?: Leaving | undefined
}

// So many renders of one kind wait for metrics that do not answer. The next one takes over those who wait for the last.
const mostWaiting = 4

const running = new WeakMap<object, Map<Format, Array<SharedRender>>>()

/**
 * What comes of a render of the registry that others of the same `owner` share. It is undefined where the caller has left
 * before. It rejects if the registry cannot be read.
 */
export const renderShared = (
  owner: object,
  registry: Readable,
  format: Format,
  wanted: Wanted,
  way: Way
): Promise<Rendered | undefined> => {
  const formats = running.get(owner) ?? new Map<Format, Array<SharedRender>>()
  running.set(owner, formats)
  const renders = formats.get(format) ?? []
  formats.set(format, renders)
  const last = renders.at(-1)
  const isFull = renders.length >= mostWaiting
  if (last?.suits(wanted, isFull)) return last.join(wanted)
  const render = new SharedRender(registry, format, wanted.names, way, isFull ? last : undefined)
  renders.push(render)
  const result = render.join(wanted)
  void sameTurn()
    .then(() => render.run())
    // What follows its progress may throw, which is nothing for those who wait for it.
    .catch(() => {})
    .then(() => void renders.splice(renders.indexOf(render), 1))
  return result
}

/** The same, shared with no other. */
export const renderAlone = (
  registry: Readable,
  format: Format,
  wanted: Wanted,
  way: Way
): Promise<Rendered | undefined> => {
  const render = new SharedRender(registry, format, wanted.names, way)
  const result = render.join(wanted)
  void render.run().catch(() => {})
  return result
}

// The next turn, once for all renders that begin with it, so that requests which have arrived together share what one of
// them waits for at once.
let turn: Promise<void> | undefined

const sameTurn = (): Promise<void> => {
  turn ??= nextTurn().then(() => {
    turn = undefined
  })
  return turn
}
