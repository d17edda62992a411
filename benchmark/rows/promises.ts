/**
 * `Promises.timed` against `try` and `finally` written by hand, both around the same small function, one async and one
 * not: the whole time of 1,000 calls, one after another.
 */
import { timed } from "effect-prometheus/Promises"
import * as promClient from "prom-client"
import type { Row } from "../report.js"
import { compare } from "../report.js"
import type { Rounds } from "../rounds.js"
import { alternate, mapRounds, timing } from "../rounds.js"

const calls = 1_000

const histogram = (name: string) => new promClient.Histogram({ name, help: "Seconds.", registers: [] })
const ofOurs = histogram("timed_seconds")
const ofTheirs = histogram("by_hand_seconds")

const next = (id: number): number => id + 1
const nextAsync = async (id: number): Promise<number> => id + 1

const nextByHand = (id: number): number => {
  const start = performance.now()
  try {
    return next(id)
  } finally {
    ofTheirs.observe((performance.now() - start) / 1e3)
  }
}

const nextAsyncByHand = async (id: number): Promise<number> => {
  const start = performance.now()
  try {
    return await nextAsync(id)
  } finally {
    ofTheirs.observe((performance.now() - start) / 1e3)
  }
}

const calling = (fn: (id: number) => number) => () => {
  let id = 0
  while (id < calls) id = fn(id)
}

const callingAsync = (fn: (id: number) => Promise<number>) => async () => {
  let id = 0
  while (id < calls) id = await fn(id)
}

export const promises: Row = {
  id: "promises",
  title: "Promises.timed against try and finally by hand",
  run: async () => {
    const plan = { rounds: 15, warmup: 2 }
    // Between two full collections of the garbage, which each turn begins with, an application makes a million calls.
    const timings = { iterations: 400, async: true }
    const asynchronous = await alternate(
      {
        ours: timing(callingAsync(timed(ofOurs)(nextAsync)), timings),
        byHand: timing(callingAsync(nextAsyncByHand), timings)
      },
      plan
    )
    const synchronous = await alternate(
      {
        ours: timing(calling(timed(ofOurs)(next)), { ...timings, async: false }),
        byHand: timing(calling(nextByHand), { ...timings, async: false })
      },
      plan
    )
    const measured = (name: string, rounds: Rounds<number>) => ({
      name,
      unit: "ns" as const,
      rounds: mapRounds(rounds, (time) => (time / calls) * 1e6)
    })
    const against = (what: string, { ours, byHand }: typeof asynchronous) =>
      compare(measured("timed", ours), measured("by hand", byHand), { what, bar: { atMost: 1.1 } })
    return { comparisons: [against("async", asynchronous), against("sync", synchronous)] }
  }
}
