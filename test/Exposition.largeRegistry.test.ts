import { setImmediate as nextTurn } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type { MetricRegistry } from "../src/Registry.js"
import type { Format } from "./support/arbitraryRegistries.js"
import { bodyOnce, formats, parsers } from "./support/expositions.js"
import { get } from "./support/httpClient.js"
import { type LargeRegistry, largeRegistry } from "./support/largeRegistry.js"
import { readPaths, withoutDirectRead } from "./support/readPaths.js"
import { inThisThread, started } from "./support/servers.js"

/** An exposition, and how many turns of the event loop were had in between, each of which did something. */
const withTurns = (registry: MetricRegistry, format: Format, each: () => void = () => {}) =>
  Effect.promise(async () => {
    let turns = 0
    let isOver = false
    const others = async (): Promise<void> => {
      for (await nextTurn(); !isOver; await nextTurn()) {
        turns += 1
        each()
      }
    }
    const turning = others()
    const body = await Effect.runPromise(bodyOnce(registry, format))
    isOver = true
    await turning
    return { body, turns }
  })

/** The next exposition, which nothing disturbs, is that of a first one. */
const assertRight = (made: LargeRegistry, kept: MetricRegistry, format: Format): Effect.Effect<string> =>
  Effect.gen(function* () {
    made.isSlow = false
    const expected = yield* bodyOnce(withoutDirectRead(made.registry), format)
    assert.strictEqual(yield* bodyOnce(kept, format), expected)
    made.isSlow = true
    return expected
  })

/** The counters' and the histogram's series that never change, with their values. */
const lasting = (body: string, format: Format): ReadonlyMap<string, number> =>
  new Map(
    parsers[format](body).flatMap(({ samples }) =>
      samples.flatMap(({ labels, name, value }) =>
        Number(labels.get("place")) % 4 === 0 ? [[`${name} ${labels.get("place")} ${labels.get("le")}`, value]] : []
      )
    )
  )

describe("An exposition of a large registry", () => {
  for (const way of readPaths) {
    describe(`that is read ${way.name}`, () => {
      it.live("yields to the event loop repeatedly, in the first and in later expositions", () =>
        Effect.gen(function* () {
          const { pauses, registry } = largeRegistry(10_000, 8)
          const kept = way.of(registry)
          for (const format of [...formats, ...formats]) {
            const { turns } = yield* withTurns(kept, format)
            assert.isAtLeast(turns, pauses)
          }
        })
      )

      for (const format of formats) {
        it.live(`in ${format} is whole and valid while values change and series come and go`, () =>
          Effect.gen(function* () {
            const made = largeRegistry(1_600)
            const kept = way.of(made.registry)
            const expected = lasting(yield* assertRight(made, kept, format), format)
            // Five counters with a line for each series, and a histogram with five.
            assert.strictEqual(expected.size, 10 * 400)
            for (let time = 0; time < 4; time += 1) {
              const { body } = yield* withTurns(kept, format, made.change)
              assert.deepStrictEqual(lasting(body, format), expected)
              yield* assertRight(made, kept, format)
            }
          })
        )
      }

      it.live("is right in each format while the other one is written in the same turns", () =>
        Effect.gen(function* () {
          const made = largeRegistry(1_600)
          const kept = way.of(made.registry)
          const asked = [...formats, ...formats]
          for (let time = 0; time < 3; time += 1) {
            const bodies = yield* Effect.all(
              asked.map((format) => bodyOnce(kept, format)),
              { concurrency: "unbounded" }
            )
            for (const [index, format] of asked.entries()) {
              assert.strictEqual(bodies[index], yield* assertRight(made, kept, format))
            }
            made.change()
          }
        })
      )

      it.live("in both formats is whole and valid where series come and go while both are written", () =>
        Effect.gen(function* () {
          const made = largeRegistry(1_600)
          const kept = way.of(made.registry)
          const expected = yield* Effect.forEach(formats, (format) =>
            Effect.map(assertRight(made, kept, format), (body) => lasting(body, format))
          )
          for (let time = 0; time < 3; time += 1) {
            const written = yield* Effect.all(
              formats.map((format) => withTurns(kept, format, made.change)),
              { concurrency: "unbounded" }
            )
            for (const [index, format] of formats.entries()) {
              assert.deepStrictEqual(lasting(written[index]?.body ?? "", format), expected[index])
              yield* assertRight(made, kept, format)
            }
          }
        })
      )
    })
  }

  it.scopedLive("does not keep a server from answering others in between", () =>
    Effect.gen(function* () {
      const made = largeRegistry(1_600, 8)
      const { address } = yield* started(inThisThread, {}, { registry: made.registry })
      const origin = `http://127.0.0.1:${address.port}`
      for (const time of ["first", "next"]) {
        const begun = yield* Deferred.make<void>()
        made.onPause = () => Deferred.unsafeDone(begun, Effect.void)
        const scrape = yield* Effect.fork(get(`${origin}/metrics`))
        yield* Deferred.await(begun)
        let pauses = 0
        made.onPause = () => {
          pauses += 1
        }
        const other = yield* get(`${origin}/`)
        assert.include(other.body, "<title>Metrics</title>")
        assert.isBelow(pauses, made.pauses - 1, `the ${time} scrape was over`)
        assert.strictEqual((yield* Fiber.join(scrape)).status, 200)
      }
    })
  )
})
