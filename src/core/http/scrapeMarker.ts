/** Marks the requests for the metrics themselves, so that HTTP metrics leave them out. */

// A property of the request: a WeakMap would cost the garbage collector more than all other work of counting.
const key = Symbol("effect-prometheus/leftOut")

interface Marked {
  /** True if it is left out; otherwise the recorders that would leave it out. */
  [key]?: true | Leaving | Array<Leaving> | undefined
}

export interface Leaving {
  leaveOut(): void
}

/** `request` must be the object that its server knows. */
export const leaveOut = (request: object): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true || !Object.isExtensible(request)) return
  marked[key] = true
  if (Array.isArray(waiting)) for (const each of waiting) each.leaveOut()
  else waiting?.leaveOut()
}

/** Calls `leaveOut` of the recorder when the request is marked, or at once if it already is. */
export const onLeftOut = (request: object, leaving: Leaving): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true) leaving.leaveOut()
  else if (Array.isArray(waiting)) waiting.push(leaving)
  else if (waiting !== undefined) marked[key] = [waiting, leaving]
  else if (Object.isExtensible(request)) marked[key] = leaving
}

/**
 * The recorder has recorded the request. Connections that are kept open refer to their last request, which would keep
 * everything in memory that the recorder refers to.
 */
export const onRecorded = (request: object, leaving: Leaving): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === leaving) marked[key] = undefined
  else if (Array.isArray(waiting)) marked[key] = waiting.filter((other) => other !== leaving)
}
