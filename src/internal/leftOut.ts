/** The requests for the metrics themselves: whoever answers one says so, and whoever counts requests leaves it out. */

// Kept on the request itself: a map that holds its keys weakly costs the collector more than all of the counting.
const key = Symbol("effect-prometheus/leftOut")

interface Marked {
  /** Whether it is left out, or what is to be done once it is. */
  [key]?: true | Array<() => void>
}

/** Says that this request, as whoever serves it knows it, asks for metrics. */
export const leaveOut = (request: object): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true || !Object.isExtensible(request)) return
  marked[key] = true
  for (const forget of waiting ?? []) forget()
}

/** Calls `forget` as soon as it is said of this request, which is at once where it has been already. */
export const onLeftOut = (request: object, forget: () => void): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true) forget()
  else if (waiting !== undefined) waiting.push(forget)
  else if (Object.isExtensible(request)) marked[key] = [forget]
}
