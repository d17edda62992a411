import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Registry from "../src/Registry.js"
import { clients } from "./support/metrics.js"

const help = "h"

const makers = {
  counter: (name: string) => Registry.counter({ name, help }),
  gauge: (name: string) => Registry.gauge({ name, help }),
  histogram: (name: string) => Registry.histogram({ name, help }),
  summary: (name: string) => Registry.summary({ name, help }),
  gaugeEffect: (name: string) => Registry.gaugeEffect({ name, help, value: Effect.succeed(1) })
}

type Spec = readonly [kind: keyof typeof makers, name: string]

const refused: ReadonlyArray<readonly [there: Spec, asked: Spec]> = [
  [
    ["histogram", "jobs"],
    ["gauge", "jobs_count"]
  ],
  [
    ["histogram", "jobs"],
    ["gauge", "jobs_bucket"]
  ],
  [
    ["histogram", "jobs"],
    ["gauge", "jobs_created"]
  ],
  [
    ["histogram", "jobs"],
    ["counter", "jobs_sum"]
  ],
  [
    ["histogram", "jobs"],
    ["summary", "jobs_bucket"]
  ],
  [
    ["histogram", "jobs"],
    ["gaugeEffect", "jobs_count"]
  ],
  [
    ["summary", "jobs"],
    ["gauge", "jobs_sum"]
  ],
  [
    ["summary", "jobs"],
    ["histogram", "jobs_count"]
  ],
  [
    ["gauge", "jobs_sum"],
    ["summary", "jobs"]
  ],
  [
    ["counter", "jobs_count"],
    ["histogram", "jobs"]
  ],
  [
    ["gaugeEffect", "jobs_bucket"],
    ["histogram", "jobs"]
  ]
]

const allowed: ReadonlyArray<readonly [there: Spec, asked: Spec]> = [
  [
    ["counter", "jobs_total"],
    ["gauge", "jobs"]
  ],
  [
    ["counter", "jobs_total"],
    ["gauge", "jobs_created"]
  ],
  [
    ["counter", "jobs_total"],
    ["histogram", "jobs"]
  ],
  [
    ["summary", "jobs"],
    ["gauge", "jobs_bucket"]
  ],
  [
    ["gauge", "jobs"],
    ["gauge", "jobs_count"]
  ],
  [
    ["gauge", "jobs"],
    ["gauge", "constructor_count"]
  ]
]

describe("A metric whose samples would have the names of another's", () => {
  for (const { client, name } of clients) {
    for (const [there, asked] of refused) {
      it.scoped(`is refused on a registry of ${name}: a ${asked.join(" ")} beside a ${there.join(" ")}`, () =>
        Effect.gen(function* () {
          const registry = new client.Registry()
          const on = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.provideService(self, Registry.Registry, registry)
          yield* on(makers[there[0]](there[1]) as Effect.Effect<unknown, Registry.RegistryError>)
          const making = makers[asked[0]](asked[1]) as Effect.Effect<unknown, Registry.RegistryError>
          const error = yield* on(Effect.flip(making))
          assert.instanceOf(error, Registry.RegistryError)
          assert.strictEqual(error.reason, "Clash")
          assert.strictEqual(error.metric, asked[1])
          assert.include(error.message, there[1])
          assert.deepStrictEqual(
            registry.getMetricsAsArray().map((metric) => metric.name),
            [there[1]]
          )
        })
      )
    }

    for (const [there, asked] of allowed) {
      it.scoped(`is not one on a registry of ${name}: a ${asked.join(" ")} beside a ${there.join(" ")}`, () =>
        Effect.gen(function* () {
          const registry = new client.Registry()
          for (const [kind, own] of [there, asked]) {
            const making = makers[kind](own) as Effect.Effect<unknown, Registry.RegistryError>
            yield* Effect.provideService(making, Registry.Registry, registry)
          }
          assert.strictEqual(registry.getMetricsAsArray().length, 2)
        })
      )
    }
  }
})
