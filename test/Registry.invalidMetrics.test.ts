import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Registry as PromRegistry } from "prom-client"
import * as DefaultMetrics from "../src/DefaultMetrics.js"
import * as Registry from "../src/Registry.js"
import { plainProperty, revokedProxy, throwingProperty } from "./support/hostileObjects.js"
import { logging } from "./support/servers.js"

const counter = (properties: PropertyDescriptorMap): object =>
  Object.defineProperties(new Counter({ name: "odd", help: "h", labelNames: ["a"], registers: [] }), properties)

/** What a registry may have by the name that is asked for, and is no counter with the label `a`. */
const others: ReadonlyArray<readonly [title: string, entry: () => unknown]> = [
  ["null", () => null],
  ["a number", () => 5],
  ["a text", () => "odd"],
  ["a symbol", () => Symbol("odd")],
  ["an empty object", () => ({})],
  ["a function", () => () => {}],
  ["a promise", () => Promise.resolve()],
  ["a proxy that was revoked", revokedProxy],
  ["a proxy whose every trap throws", () => new Proxy({}, new Proxy({}, throwingProperty() as never))],
  ["a metric whose type throws", () => counter({ type: throwingProperty() })],
  ["a metric whose type is a symbol", () => counter({ type: plainProperty(Symbol("counter")) })],
  ["a metric whose type throws what was revoked", () => counter({ type: throwingProperty(revokedProxy()) })],
  ["a metric whose labelNames throw", () => counter({ labelNames: throwingProperty() })],
  ["a metric whose labelNames are a symbol", () => counter({ labelNames: plainProperty([Symbol("a")]) })],
  ["a metric whose labelNames are objects", () => counter({ labelNames: plainProperty([Object.create(null)]) })],
  ["a metric whose labelNames are null", () => counter({ labelNames: plainProperty(null) })]
]

const registryWith = (entry: unknown, name = "odd"): PromRegistry => {
  const registry = new PromRegistry()
  const known = registry.getSingleMetric.bind(registry)
  registry.getSingleMetric = ((asked: string) => (asked === name ? entry : known(asked))) as typeof known
  return registry
}

const constructors: ReadonlyArray<readonly [name: string, make: Effect.Effect<unknown, Registry.RegistryError>]> = [
  ["Registry.counter", Registry.counter({ name: "odd", help: "h", labelNames: ["a"] })],
  ["Registry.gauge", Registry.gauge({ name: "odd", help: "h", labelNames: ["a"] })],
  ["Registry.histogram", Registry.histogram({ name: "odd", help: "h", labelNames: ["a"] })],
  ["Registry.summary", Registry.summary({ name: "odd", help: "h", labelNames: ["a"], maxAgeSeconds: 5 })],
  ["Registry.gaugeEffect", Effect.scoped(Registry.gaugeEffect({ name: "odd", help: "h", value: Effect.succeed(1) }))]
]

describe("A registry that has something odd by the name that is asked for", () => {
  for (const [name, make] of constructors) {
    for (const [title, entryOf] of others) {
      it.effect(`which is ${title}, is a typed failure of ${name} that names the metric`, () =>
        Effect.gen(function* () {
          const registry = registryWith(entryOf())
          const error = yield* Effect.flip(Effect.provide(make, Registry.layer(registry)))
          assert.strictEqual(error._tag, "RegistryError")
          assert.strictEqual(error.metric, "odd")
          assert.include(error.message, "odd")
          assert.deepStrictEqual(registry.getMetricsAsArray(), [])
        })
      )
    }
  }

  for (const [title, entryOf] of others) {
    it.scoped(`which is ${title}, is a typed failure of the default metrics`, () =>
      Effect.gen(function* () {
        const registry = registryWith(entryOf(), "process_cpu_seconds_total")
        const { layer } = logging()
        const exit = yield* Effect.exit(
          Effect.scoped(DefaultMetrics.make()).pipe(Effect.provide(Registry.layer(registry)), Effect.provide(layer))
        )
        if (exit._tag === "Failure") assert.strictEqual(exit.cause._tag, "Fail")
      })
    )
  }
})

/** What may have the names that the samples of a histogram `odd` have. */
describe("A registry that has something odd by a name near the one that is asked for", () => {
  for (const [title, entryOf] of others) {
    it.effect(`which is ${title}, is a typed failure of Registry.histogram, or ignored`, () =>
      Effect.gen(function* () {
        const registry = registryWith(entryOf(), "odd_count")
        const make = Registry.histogram({ name: "odd", help: "h" })
        const exit = yield* Effect.exit(Effect.provide(make, Registry.layer(registry)))
        if (exit._tag === "Failure") assert.strictEqual(exit.cause._tag, "Fail")
      })
    )
  }
})
