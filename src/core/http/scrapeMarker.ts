/** The requests for the metrics themselves: whoever answers one says so, and whoever counts requests leaves it out. */

// Kept on the request itself: a map that holds its keys weakly costs the collector more than all of the counting.
const key = Symbol("effect-prometheus/leftOut")

interface Marked {
  /** Whether it is left out, or who is to leave it out. */
  [key]?: true | Array<Leaving>
}

/** Whoever counts a request, and can have it uncounted. */
export interface Leaving {
  leaveOut(): void
}

/** Says that this request, as whoever serves it knows it, asks for metrics. */
export const leaveOut = (request: object): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true || !Object.isExtensible(request)) return
  marked[key] = true
  for (const each of waiting ?? []) each.leaveOut()
}

/** Has it left out as soon as that is said of this request, which is at once where it has been already. */
export const onLeftOut = (request: object, leaving: Leaving): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true) leaving.leaveOut()
  else if (waiting !== undefined) waiting.push(leaving)
  else if (Object.isExtensible(request)) marked[key] = [leaving]
}
