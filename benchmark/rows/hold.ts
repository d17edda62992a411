/**
 * How long a render blocks the event loop: the longest gap between two turns of a `setImmediate` loop during one render of
 * 100,000 counters in 10 families. Between two renders the value of every series changes.
 */
import { clients, ours, type Renderer } from "../contenders.js"
import { compare, type Row } from "../report.js"
import { alternate, longestHold } from "../rounds.js"

const shape = { counter: { families: 10, series: 10_000 } }

export const hold: Row = {
  id: "hold",
  title: "the longest block of the event loop, 10 families of 10,000 counters",
  run: async () => {
    const holding =
      ({ change, render }: Renderer) =>
      () => {
        change()
        return longestHold(render)
      }
    const holds = await alternate({ ours: holding(ours(shape)), peer: holding(clients(shape)) }, { rounds: 15 })
    return {
      comparisons: [
        compare(
          { name: "ours", unit: "ms", rounds: holds.ours },
          { name: "prom-client", unit: "ms", rounds: holds.peer },
          { bar: { atMost: 1 / 8 } }
        )
      ]
    }
  }
}
