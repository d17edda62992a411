/**
 * `Promises.timed` against `try` and `finally` by hand, around the same small function, async and sync: the total time of
 * 1,000 sequential calls. With labels that are computed from the result, by hand has the child of each label at hand.
 */
import { timed } from "effect-prometheus/Promises"
import * as promClient from "prom-client"
import { compare, type Row } from "../report.js"
import { alternate, mapRounds, type Rounds, timing } from "../rounds.js"

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

const labelled = (name: string) =>
  new promClient.Histogram({ name, help: "Seconds.", labelNames: ["parity"], registers: [] })
const ofOurResults = labelled("timed_by_result_seconds")
const ofTheirResults = labelled("by_hand_by_result_seconds")
const children = [ofTheirResults.labels({ parity: "even" }), ofTheirResults.labels({ parity: "odd" })]

const byResult = timed(ofOurResults, {
  labels: (exit) => ({ parity: exit.status === "fulfilled" && Number(exit.value) % 2 === 1 ? "odd" : "even" })
})

const nextByResultByHand = async (id: number): Promise<number> => {
  const start = performance.now()
  const value = await nextAsync(id)
  children[value % 2]?.observe((performance.now() - start) / 1e3)
  return value
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
    // Each turn begins with a full garbage collection; an application makes a million calls between two of them.
    const timings = { iterations: 400, async: true }
    const asynchronous = await alternate(
      {
        ours: timing(callingAsync(timed(ofOurs)(nextAsync)), timings),
        byHand: timing(callingAsync(nextAsyncByHand), timings)
      },
      plan
    )
    const labelled = await alternate(
      {
        ours: timing(callingAsync(byResult(nextAsync)), timings),
        byHand: timing(callingAsync(nextByResultByHand), timings)
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
    const against = (what: string, { ours, byHand }: typeof asynchronous, atMost = 1.1) =>
      compare(measured("timed", ours), measured("by hand", byHand), { what, bar: { atMost } })
    return {
      comparisons: [
        against("async", asynchronous),
        against("async, labels from the result", labelled, 1.2),
        against("sync", synchronous)
      ]
    }
  }
}
