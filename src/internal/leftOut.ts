/** The requests for the metrics themselves: whoever answers one says so, and whoever counts requests leaves it out. */

const leftOut = new WeakSet<object>()
const waiting = new WeakMap<object, Array<() => void>>()

/** Says that this request, as whoever serves it knows it, asks for metrics. */
export const leaveOut = (request: object): void => {
  if (leftOut.has(request)) return
  leftOut.add(request)
  for (const forget of waiting.get(request) ?? []) forget()
  waiting.delete(request)
}

/** Calls `forget` as soon as it is said of this request, which is at once where it has been already. */
export const onLeftOut = (request: object, forget: () => void): void => {
  const others = waiting.get(request)
  if (leftOut.has(request)) forget()
  else if (others === undefined) waiting.set(request, [forget])
  else others.push(forget)
}
