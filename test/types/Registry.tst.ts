import { Context, Effect, type Scope } from "effect"
import type { Counter, Gauge, Histogram, Summary } from "prom-client"
import { describe, expect, test } from "tstyche"
import * as Metrics from "../../src/Metrics.js"
import * as Registry from "../../src/Registry.js"

const plain = { name: "m", help: "h" }
const labelled = { name: "m", help: "h", labelNames: ["method", "status"] } as const

class Pool extends Context.Tag("Pool")<Pool, { readonly idle: number }>() {}

declare const effect: Effect.Effect<number, Error>
declare const secondsBy: Histogram<"method" | "status">
declare const totalBy: Counter<"method" | "status">
declare const seconds: Histogram<never>

describe("a metric has the labels that it is asked for with", () => {
  test("in an inline list, without a cast", () => {
    expect(Registry.counter({ name: "m", help: "h", labelNames: ["method", "status"] })).type.toBe<
      Effect.Effect<Counter<"method" | "status">, Registry.RegistryError>
    >()
    expect(Registry.gauge(labelled)).type.toBe<Effect.Effect<Gauge<"method" | "status">, Registry.RegistryError>>()
    expect(Registry.histogram(labelled)).type.toBe<
      Effect.Effect<Histogram<"method" | "status">, Registry.RegistryError>
    >()
    expect(Registry.summary(labelled)).type.toBe<Effect.Effect<Summary<"method" | "status">, Registry.RegistryError>>()
  })

  test("or none", () => {
    expect(Registry.counter(plain)).type.toBe<Effect.Effect<Counter<never>, Registry.RegistryError>>()
    expect(Registry.histogram(plain)).type.toBe<Effect.Effect<Histogram<never>, Registry.RegistryError>>()
  })

  test("which the combinators check", () => {
    const labels = { method: "GET", status: 200 }
    expect(Metrics.timed(effect, secondsBy, { labels })).type.toBe<Effect.Effect<number, Error>>()
    expect(Metrics.timed(effect, seconds)).type.toBe<Effect.Effect<number, Error>>()
    expect(Metrics.countExceptions(effect, totalBy, { labels: () => labels })).type.toBe<Effect.Effect<number, Error>>()
    expect(Metrics.timed).type.not.toBeCallableWith(effect, secondsBy)
    expect(Metrics.timed).type.not.toBeCallableWith(effect, secondsBy, { labels: { method: "GET" } })
    expect(Metrics.timed).type.not.toBeCallableWith(effect, secondsBy, { labels: { ...labels, more: 1 } })
    expect(Metrics.timed).type.not.toBeCallableWith(effect, seconds, { labels: { method: "GET" } })
  })

  test("and the methods of the client check", () => {
    expect(totalBy.inc).type.toBeCallableWith({ method: "GET", status: 200 }, 2)
    expect(totalBy.inc).type.not.toBeCallableWith({ methods: "GET" }, 2)
  })
})

describe("a closed set of labels", () => {
  test("names each label once", () => {
    expect(Registry.counter).type.toBeCallableWith({ ...labelled, series: { method: ["GET"], status: [200, "500"] } })
    expect(Registry.counter).type.not.toBeCallableWith({ ...labelled, series: { method: ["GET"] } })
    expect(Registry.counter).type.not.toBeCallableWith({
      name: "m",
      help: "h",
      labelNames: ["method"],
      series: { method: ["GET"], status: [200] }
    })
    expect(Registry.counter).type.not.toBeCallableWith({ ...labelled, series: { method: "GET", status: [200] } })
  })

  test("does not add labels that are not among the names", () => {
    expect(Registry.counter).type.not.toBeCallableWith({ name: "m", help: "h", series: { method: ["GET"] } })
  })
})

describe("what does not belong to a metric does not compile", () => {
  test("on each of them", () => {
    expect(Registry.counter).type.not.toBeCallableWith({ name: "m" })
    expect(Registry.counter).type.not.toBeCallableWith({ name: "m", help: "h", buckets: [1] })
    expect(Registry.gauge).type.not.toBeCallableWith({ name: "m", help: "h", enableExemplars: true })
    expect(Registry.histogram).type.not.toBeCallableWith({ name: "m", help: "h", percentiles: [0.5] })
    expect(Registry.summary).type.not.toBeCallableWith({ name: "m", help: "h", buckets: [1] })
    expect(Registry.summary).type.toBeCallableWith({ name: "m", help: "h", maxAgeSeconds: undefined })
  })
})

describe("a gauge whose value is an effect", () => {
  test("keeps what the effect needs, and needs a scope", () => {
    const value = Effect.map(Pool, ({ idle }) => idle)
    expect(Registry.gaugeEffect({ name: "m", help: "h", value })).type.toBe<
      Effect.Effect<void, Registry.RegistryError, Pool | Scope.Scope>
    >()
    expect(Registry.gaugeEffect({ name: "m", help: "h", value: Effect.fail("no") })).type.toBe<
      Effect.Effect<void, Registry.RegistryError, Scope.Scope>
    >()
  })

  test("is a number without labels, and a list with them", () => {
    const list = Effect.succeed([{ labels: { queue: "mail" }, value: 1 }])
    const number = Effect.succeed(1)
    expect(Registry.gaugeEffect).type.toBeCallableWith({ name: "m", help: "h", value: number, timeout: "2 seconds" })
    expect(Registry.gaugeEffect).type.not.toBeCallableWith({ name: "m", help: "h", value: list })
    expect(Registry.gaugeEffect).type.not.toBeCallableWith({ name: "m", help: "h", value: Effect.succeed("1") })
    expect(Registry.gaugeEffect).type.toBeCallableWith({ name: "m", help: "h", labelNames: ["queue"], value: list })
    expect(Registry.gaugeEffect).type.not.toBeCallableWith({
      name: "m",
      help: "h",
      labelNames: ["queue"],
      value: number
    })
    expect(Registry.gaugeEffect).type.not.toBeCallableWith({ name: "m", help: "h", labelNames: ["other"], value: list })
  })
})

describe("the error of a metric", () => {
  test("says why", () => {
    expect<Registry.RegistryError["reason"]>().type.toBe<"Clash" | "InvalidOptions" | "Registry">()
  })
})
