/**
 * One collection of a metric serves all renders that need it while it runs: a `collect` that resets its metric, waits
 * and sets it again would count its values twice if it ran twice at the same time. A render never uses a collection
 * that ended before the render was requested.
 */

import { oncePerProcess } from "../util/oncePerProcess.js"
import { nextTurn } from "../util/realTimers.js"
import type { CollectedFamily, FamilyReader } from "./model.js"

export const LateError = oncePerProcess(
  "LateError",
  () =>
    class LateError extends Error {
      override readonly name = "LateError"
      constructor() {
        super("it did not respond in time")
      }
    }
)

export type Answer = PromiseSettledResult<CollectedFamily>

interface Collection {
  /** On the counter `moment`. */
  readonly began: number
  answer: Answer | undefined
  /** Renders remove theirs: otherwise a pending promise would keep them in memory. */
  readonly waiting: Set<() => void>
}

// Collections that are running, or that a render may still use. A metric that does not answer stays here and is not
// collected again: otherwise each scrape would leave one more pending collection.
const running = oncePerProcess("collections", () => new WeakMap<object, Collection>())

const open = oncePerProcess("collections of renders", () => new Set<Collections>())

// A counter that orders collections and renders in time.
const clock = oncePerProcess("order of collections", () => ({ moment: 0 }))

// The microtasks within which a metric answers that needs no time.
const immediately = 8

export class Collections {
  private readonly asked = new Map<object, Collection>()
  private readonly since: number

  /** `onAnswer` is called when a collection that this render waits for ends. */
  constructor(private readonly onAnswer: () => void) {
    clock.moment += 1
    this.since = clock.moment
    open.add(this)
  }

  /** Starts or joins a collection, once per render. Returns the answer if it comes immediately. */
  async ask(family: FamilyReader): Promise<Answer | undefined> {
    const collection = this.asked.get(family.identity) ?? this.begin(family)
    for (let step = 0; step < immediately && collection.answer === undefined; step += 1) await undefined
    return collection.answer
  }

  private begin(family: FamilyReader): Collection {
    const { identity } = family
    const last = running.get(identity)
    const collection = last && (last.answer === undefined || last.began > this.since) ? last : started(family)
    this.asked.set(identity, collection)
    if (collection.answer === undefined) collection.waiting.add(this.onAnswer)
    return collection
  }

  /** Undefined if it has not answered. */
  answerOf({ identity }: FamilyReader): Answer | undefined {
    return this.asked.get(identity)?.answer
  }

  hasAsked({ identity }: FamilyReader): boolean {
    return this.asked.has(identity)
  }

  isPending({ identity }: FamilyReader): boolean {
    const collection = this.asked.get(identity)
    return collection !== undefined && collection.answer === undefined
  }

  /** It may have served other renders as well. */
  failed({ identity }: FamilyReader): object | undefined {
    const collection = this.asked.get(identity)
    return collection?.answer?.status === "rejected" ? collection : undefined
  }

  /** Other renders may still wait for the collections. */
  end(): void {
    for (const { waiting } of this.asked.values()) waiting.delete(this.onAnswer)
    this.asked.clear()
    open.delete(this)
    forgetUnused()
  }

  /** For a collection that has ended. */
  mayJoin(identity: object, { began }: Collection): boolean {
    return began > this.since && !this.asked.has(identity)
  }
}

const started = (family: FamilyReader): Collection => {
  clock.moment += 1
  const collection: Collection = { began: clock.moment, answer: undefined, waiting: new Set() }
  running.set(family.identity, collection)
  void settled(family).then((answer) => {
    collection.answer = answer
    forget(family.identity)
    for (const onAnswer of collection.waiting) onAnswer()
    collection.waiting.clear()
  })
  return collection
}

let ended: Array<object> = []
let isForgetting = false

const forget = (identity: object): void => {
  ended.push(identity)
  if (isForgetting) return
  isForgetting = true
  void nextTurn().then(() => {
    isForgetting = false
    forgetUnused()
  })
}

const forgetUnused = (): void => {
  ended = ended.filter((identity) => {
    const collection = running.get(identity)
    if (collection?.answer === undefined) return false
    for (const render of open) if (render.mayJoin(identity, collection)) return true
    running.delete(identity)
    return false
  })
}

const settled = async (family: FamilyReader): Promise<Answer> => {
  try {
    if (family.collect === undefined) throw new TypeError("it cannot be collected")
    return { status: "fulfilled", value: await family.collect() }
  } catch (reason) {
    return { status: "rejected", reason }
  }
}
