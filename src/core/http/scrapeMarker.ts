/** Marks the requests for the metrics themselves, so that HTTP metrics leave them out. */

// A property of the request: a WeakMap would cost the garbage collector more than all other work of counting.
const key = Symbol("effect-prometheus/leftOut")

interface Marked {
  /** True if it is left out; otherwise the recorders that would leave it out. */
  [key]?: true | Array<Leaving>
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
  for (const each of waiting ?? []) each.leaveOut()
}

/**
 * Calls `leaveOut` of the recorder when the request is marked, or at once if it already is. Returns whether the recorder is
 * found by `recordersOf` from now on.
 */
export const onLeftOut = (request: object, leaving: Leaving): boolean => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true) {
    leaving.leaveOut()
    return false
  }
  if (waiting !== undefined) waiting.push(leaving)
  else if (Object.isExtensible(request)) marked[key] = [leaving]
  else return false
  return true
}

/** Those that have not recorded the request yet. */
export const recordersOf = (request: object): ReadonlyArray<Leaving> => {
  const waiting = (request as Marked)[key]
  return waiting === undefined || waiting === true ? [] : waiting
}

/**
 * The recorder has recorded the request. Connections that are kept open refer to their last request, which would keep
 * everything in memory that the recorder refers to.
 */
export const onRecorded = (request: object, leaving: Leaving): void => {
  const waiting = (request as Marked)[key]
  if (waiting === undefined || waiting === true) return
  const at = waiting.indexOf(leaving)
  if (at !== -1) waiting.splice(at, 1)
}
