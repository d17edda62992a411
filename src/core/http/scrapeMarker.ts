/** Marks the requests for the metrics themselves, so that HTTP metrics leave them out. */

// A property of the request: a WeakMap would cost the garbage collector more than all other work of counting.
const key = Symbol("effect-prometheus/leftOut")

interface Marked {
  /** True if it is left out. The recorders are in an object of their own, which code can change if the request is frozen. */
  [key]?: true | Recorders
}

export interface Leaving {
  leaveOut(): void
}

/** The recorders that have not recorded the request yet. Usually there is one. */
class Recorders {
  private others: ReadonlyArray<Leaving> = []

  constructor(private first: Leaving | undefined) {}

  all(): ReadonlyArray<Leaving> {
    return this.first === undefined ? this.others : [this.first, ...this.others]
  }

  add(leaving: Leaving): void {
    this.others = [...this.others, leaving]
  }

  remove(leaving: Leaving): void {
    if (this.first === leaving) this.first = undefined
    else this.others = this.others.filter((each) => each !== leaving)
  }
}

/** `request` must be the object that its server knows. */
export const leaveOut = (request: object): void => {
  const marked: Marked = request
  const waiting = marked[key]
  if (waiting === true || !Object.isExtensible(request)) return
  marked[key] = true
  for (const each of waiting?.all() ?? []) each.leaveOut()
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
  if (waiting !== undefined) waiting.add(leaving)
  else if (Object.isExtensible(request)) marked[key] = new Recorders(leaving)
  else return false
  return true
}

/** Those that have not recorded the request yet. */
export const recordersOf = (request: object): ReadonlyArray<Leaving> => {
  const waiting = (request as Marked)[key]
  return waiting === undefined || waiting === true ? [] : waiting.all()
}

/**
 * The recorder has recorded the request. Connections that are kept open refer to their last request, which would keep
 * everything in memory that the recorder refers to.
 */
export const onRecorded = (request: object, leaving: Leaving): void => {
  const waiting = (request as Marked)[key]
  if (waiting !== undefined && waiting !== true) waiting.remove(leaving)
}
