import { Effect, Redacted } from "effect"
import { describe, expect, test } from "tstyche"
import { layer } from "../../src/ConsulAgent.js"
import { consulAgent } from "../../src/Promises.js"

describe("The check of a Consul agent", () => {
  test("is an HTTP check or a TTL check, and not both", () => {
    expect(layer).type.toBeCallableWith({ check: { url: "http://127.0.0.1/", header: { authorization: "Basic abc" } } })
    expect(layer).type.toBeCallableWith({ check: { ttl: "10 seconds", deregisterCriticalServiceAfter: false } })
    expect(layer).type.toBeCallableWith({ check: false })
    expect(layer).type.not.toBeCallableWith({ check: { ttl: "10 seconds", url: "http://127.0.0.1/" } })
    expect(layer).type.not.toBeCallableWith({ check: { ttl: "10 seconds", interval: "1 second" } })
  })
})

describe("The token of a Consul agent", () => {
  test("is a text, a secret, or an effect that needs nothing", () => {
    expect(layer).type.toBeCallableWith({ token: Redacted.make("abc") })
    expect(layer).type.toBeCallableWith({ token: Effect.as(Effect.fail("no"), "abc") })
    expect(layer).type.not.toBeCallableWith({ token: Effect.succeed(1) })
    expect(layer).type.not.toBeCallableWith({ token: () => "abc" })
  })

  test("is also a function for plain promises", () => {
    expect(consulAgent).type.toBeCallableWith({ token: () => "abc" })
    expect(consulAgent).type.toBeCallableWith({ token: async () => Redacted.make("abc") })
    expect(consulAgent).type.not.toBeCallableWith({ token: () => 1 })
  })
})
