/**
 * How the rows measure: contenders take turns in rounds, and each ratio is calculated within a round, so that other load
 * on the machine affects both sides. The result is the median of the rounds, and its spread.
 */
import { Bench } from "tinybench"

/** One measurement; a round has one of each contender. */
export type Measure<A> = () => Promise<A>

/** The measurements, round by round; `undefined` if a contender did not take part in the round. */
export type Rounds<A> = ReadonlyArray<A | undefined>

export interface Plan<K extends string> {
  readonly rounds: number
  /** The number of warm-up rounds, which are not reported. Default: 1. */
  readonly warmup?: number | undefined
  /** Slow contenders, with the interval of rounds in which they take part. */
  readonly seldom?: Partial<Record<K, number>> | undefined
}

/** Lets the contenders take turns; each round begins with a different one. */
export const alternate = async <K extends string, A>(
  contenders: { readonly [Name in K]: Measure<A> },
  { rounds, warmup = 1, seldom }: Plan<K>
): Promise<{ readonly [Name in K]: Rounds<A> }> => {
  const names = namesOf(contenders)
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<K, Array<A | undefined>>
  for (let round = -warmup; round < rounds; round++) {
    const first = (round + warmup) % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      if (round > 0 && round % (seldom?.[name] ?? 1) !== 0) continue
      collectGarbage()
      const result = await contenders[name]()
      if (round >= 0) results[name][round] = result
    }
  }
  return results
}

/** The names of contenders, as the compiler knows them. */
export const namesOf = <K extends string>(contenders: { readonly [Name in K]: unknown }): ReadonlyArray<K> =>
  Object.keys(contenders) as Array<K>

/** Collects the garbage of the previous contender. It does nothing without `--expose-gc`. */
export const collectGarbage = (): void => globalThis.gc?.()

export interface Timing {
  readonly iterations: number
  /** Whether `fn` returns a promise to wait for. */
  readonly async: boolean
  /** Run before and after each iteration, outside of the measured time. */
  readonly before?: (() => void) | undefined
  readonly after?: (() => void) | undefined
}

/** A measurement of the mean time of `fn` in milliseconds, including garbage collections during it. */
export const timing =
  (fn: () => unknown, { iterations, async, before, after }: Timing): Measure<number> =>
  async () => {
    const bench = new Bench({ iterations, time: 0, warmup: false, throws: true })
    bench.add("contender", fn, {
      async,
      ...(before && { beforeEach: () => before() }),
      ...(after && { afterEach: () => after() })
    })
    const [task] = await bench.run()
    if (task?.result.state !== "completed") throw new Error("the measurement did not complete")
    return task.result.latency.mean
  }

/** The longest time that `work` blocks the event loop, in milliseconds. */
export const longestHold = async (work: () => Promise<unknown>): Promise<number> => {
  await new Promise(setImmediate)
  let longest = 0
  let last = performance.now()
  const turned = () => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  const turn = () => {
    turned()
    next = setImmediate(turn)
  }
  let next = setImmediate(turn)
  await work()
  turned()
  clearImmediate(next)
  return longest
}

/** The median, and the spread of the values. */
export interface Spread {
  readonly median: number
  /** The first and the third quartile. */
  readonly quartiles: readonly [number, number]
  readonly range: readonly [number, number]
  readonly rounds: number
}

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number) => {
    const position = share * (sorted.length - 1)
    const [low, high] = [sorted[Math.floor(position)] ?? Number.NaN, sorted[Math.ceil(position)] ?? Number.NaN]
    return low + (high - low) * (position % 1)
  }
  return { median: at(0.5), quartiles: [at(0.25), at(0.75)], range: [at(0), at(1)], rounds: sorted.length }
}

/** Combines the measurements of two contenders in the rounds in which both took part. */
export const perRound = <A, B, C>(a: Rounds<A>, b: Rounds<B>, combine: (a: A, b: B) => C): ReadonlyArray<C> =>
  a.flatMap((left, round) => {
    const right = b[round]
    return left === undefined || right === undefined ? [] : [combine(left, right)]
  })

/** The rounds with `f` applied to each measurement. */
export const mapRounds = <A, B>(rounds: Rounds<A>, f: (value: A) => B): Rounds<B> =>
  rounds.map((value) => (value === undefined ? undefined : f(value)))
