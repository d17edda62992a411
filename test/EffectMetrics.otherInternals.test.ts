import { assert, it } from "@effect/vitest"
import { Effect, Metric } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as EffectMetrics from "../src/EffectMetrics.js"
import { Registry } from "../src/Registry.js"
import { bodyOnce } from "./support/expositions.js"

it.effect("Effect's metrics are exposed also where its registry keeps them in another way than now", () =>
  Effect.gen(function* () {
    yield* Metric.set(Metric.gauge("kept"), 1)
    const effects = Metric.globalMetricRegistry as unknown as { map: Record<"referential" | "buckets", unknown> }
    const { map } = effects
    const snapshot = () => Metric.globalMetricRegistry.constructor.prototype.snapshot.call({ map })
    const other = { referential: map.referential, buckets: map.buckets, bucketsSize: 0 }
    yield* EffectMetrics.make({ include: ["kept"] })
    yield* Effect.acquireRelease(
      Effect.sync(() => Object.assign(effects, { map: other, snapshot })),
      () =>
        Effect.sync(() => {
          Reflect.deleteProperty(effects, "snapshot")
          effects.map = map
        })
    )
    assert.include(yield* bodyOnce(yield* Registry, "text"), "\nkept 1\n")
  }).pipe(Effect.scoped, Effect.provideService(Registry, new PromRegistry()))
)
