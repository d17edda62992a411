import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import { bodyOf, formats, logged, rendered } from "./support/expositions.js"
import { clients, errors } from "./support/metrics.js"

const secret = new Error("postgres://user:password@db is down")

interface Failing {
  readonly title: string
  readonly register: (registry: PromRegistry) => void
  readonly cause: (cause: unknown) => void
}

const gaugeThat = (collect: () => void) => (registry: PromRegistry) => {
  new Gauge({ name: "broken", help: "h", registers: [registry], collect })
}

const throwing = (error: unknown) => () => {
  throw error
}

const is = (expected: unknown) => (cause: unknown) => assert.strictEqual(cause, expected)

const failing: ReadonlyArray<Failing> = [
  { title: "throws", register: gaugeThat(throwing(secret)), cause: is(secret) },
  { title: "rejects", register: gaugeThat(async () => throwing(secret)()), cause: is(secret) },
  { title: "throws null", register: gaugeThat(throwing(null)), cause: is(null) },
  {
    title: "throws an object without a prototype",
    register: gaugeThat(throwing(Object.create(null))),
    cause: (cause) => assert.isObject(cause)
  },
  {
    title: "cannot be asked",
    register: (registry) => registry.registerMetric({ name: "broken", help: "h", type: "gauge" } as never),
    cause: (cause) => assert.instanceOf(cause, TypeError)
  }
]

/** A registry with that metric between two sound ones. */
const registryWith = (register: (registry: PromRegistry) => void): PromRegistry => {
  const registry = new PromRegistry()
  new Gauge({ name: "before", help: "h", registers: [registry] }).set(1)
  register(registry)
  new Gauge({ name: "after", help: "h", registers: [registry] }).set(2)
  return registry
}

describe("A metric that cannot be read", () => {
  for (const { cause, register, title } of failing) {
    it.effect(`because it ${title} fails the render with an error that names it`, () =>
      logged(function* () {
        const registry = registryWith(register)
        const error = yield* Effect.flip(rendered(registry))
        assert.instanceOf(error, Exposition.ExpositionError)
        assert.strictEqual(error._tag, "ExpositionError")
        assert.strictEqual(error.reason, "Collect")
        assert.deepStrictEqual(error.metrics, ["broken"])
        assert.include(error.message, "broken")
        cause(error.cause)
        assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 1 })
      })
    )

    it.effect(`because it ${title} is left out of both formats where the render is to continue`, () =>
      logged(function* () {
        const registry = registryWith(register)
        const names = ["before", "broken", "after"]
        const [text, openmetrics] = yield* Effect.forEach(formats, (format) =>
          bodyOf(registry, format, { names, onError: "continue" })
        )
        const others = "# HELP before h\n# TYPE before gauge\nbefore 1\n# HELP after h\n# TYPE after gauge\nafter 2\n"
        assert.strictEqual(text, others)
        assert.strictEqual(openmetrics, `${others}# EOF\n`)
        assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 2 })
      })
    )
  }

  it.effect("is named with all the others that cannot", () =>
    logged(function* () {
      const registry = new PromRegistry()
      for (const name of ["one", "two", "three"]) {
        const collect = name === "two" ? () => {} : throwing(secret)
        new Gauge({ name, help: "h", registers: [registry], collect })
      }
      const { message, metrics } = yield* Effect.flip(rendered(registry))
      assert.deepStrictEqual(metrics, ["one", "three"])
      assert.match(message, /\bone\b.*\bthree\b/)
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 2 })
    })
  )

  it.effect("does not keep the others from being collected", () =>
    logged(function* () {
      const collected: Array<string> = []
      const registry = new PromRegistry()
      new Gauge({ name: "broken", help: "h", registers: [registry], collect: throwing(secret) })
      new Gauge({ name: "sound", help: "h", registers: [registry], collect: () => void collected.push("sound") })
      yield* Effect.flip(rendered(registry))
      assert.deepStrictEqual(collected, ["sound"])
    })
  )

  it.effect("does not matter to a render of others", () =>
    logged(function* (lines) {
      const registry = registryWith(gaugeThat(throwing(secret)))
      assert.include(yield* bodyOf(registry, "text", { names: ["after"] }), "after 2\n")
      assert.deepStrictEqual(lines, [])
      assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), {})
    })
  )

  for (const { client, name } of clients) {
    it.effect(`is counted on a registry of ${name}, where the next exposition shows it`, () =>
      logged(function* () {
        const registry = new client.Registry()
        new client.Gauge({ name: "broken", help: "h", registers: [registry], collect: throwing(secret) })
        yield* Effect.flip(rendered(registry))
        const text = yield* bodyOf(registry, "text", { onError: "continue" })
        assert.include(text, 'effect_prometheus_errors_total{operation="collect"} 1\n')
        assert.include(text, 'effect_prometheus_errors_total{operation="observe"} 0\n')
      })
    )
  }

  for (const onError of ["fail", "continue"] as const) {
    it.effect(`is logged as an error once, until it recovered, where onError is ${onError}`, () =>
      logged(function* (lines) {
        let isBroken = true
        const registry = registryWith(gaugeThat(() => (isBroken ? throwing(secret)() : undefined)))
        const scrapes = (times: number) =>
          Effect.forEach(Array.from({ length: times }), () => Effect.ignore(rendered(registry, { onError })))
        yield* scrapes(3)
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /^ERROR .*\bbroken\b/)
        isBroken = false
        yield* scrapes(2)
        assert.strictEqual(lines.length, 1)
        isBroken = true
        yield* scrapes(2)
        assert.strictEqual(lines.length, 2)
        assert.deepStrictEqual(yield* Effect.promise(() => errors(registry)), { collect: 5 })
      })
    )
  }

  it.effect("is logged once for each metric", () =>
    logged(function* (lines) {
      const registry = new PromRegistry()
      for (const name of ["one", "two"]) {
        new Gauge({ name, help: "h", registers: [registry], collect: throwing(secret) })
      }
      yield* Effect.flip(rendered(registry))
      yield* Effect.flip(rendered(registry))
      assert.deepStrictEqual(
        lines.map((line) => /\b(one|two)\b/.exec(line)?.[1]),
        ["one", "two"]
      )
    })
  )

  it.effect("is in the error that is handled by its tag", () =>
    logged(function* () {
      const registry = registryWith(gaugeThat(throwing(secret)))
      const body = yield* Effect.catchTag(rendered(registry), "ExpositionError", ({ metrics }) =>
        Effect.succeed(metrics)
      )
      assert.deepStrictEqual(body, ["broken"])
    })
  )
})

describe("A registry that throws", () => {
  const broken = {
    getMetricsAsArray: throwing(secret),
    registerMetric: throwing(secret),
    getSingleMetric: throwing(secret)
  }

  for (const onError of ["fail", "continue"] as const) {
    it.effect(`is a typed failure where onError is ${onError}`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(rendered(broken, { onError }))
        assert.instanceOf(error, Exposition.ExpositionError)
        assert.strictEqual(error.reason, "Registry")
        assert.deepStrictEqual(error.metrics, [])
        assert.strictEqual(error.cause, secret)
      })
    )
  }

  it.effect("where failures are to be counted loses that count alone", () =>
    logged(function* () {
      const registry = registryWith(gaugeThat(throwing(secret)))
      const { getMetricsAsArray } = registry
      const cannotCount = { ...broken, getMetricsAsArray: getMetricsAsArray.bind(registry) }
      const error = yield* Effect.flip(rendered(cannotCount))
      assert.deepStrictEqual(error.metrics, ["broken"])
      assert.include(yield* bodyOf(cannotCount, "text", { onError: "continue" }), "after 2\n")
    })
  )
})
