import { assert, describe, it } from "@effect/vitest"
import { Effect, HashMap, Layer, Logger } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as Metrics from "../src/Metrics.js"
import * as Registry from "../src/Registry.js"
import { startConsulAgentStub } from "./support/consulAgentStub.js"
import { serverKinds } from "./support/servers.js"

/** A logger that keeps the message and the annotations of each line. */
const keeping = () => {
  const lines: Array<readonly [message: string, data: object]> = []
  const logger = Logger.make(({ annotations, message }) => {
    lines.push([String([message].flat()[0]), Object.fromEntries(HashMap.toEntries(annotations))])
  })
  return { lines, layer: Logger.replace(Logger.defaultLogger, logger) }
}

describe("The log has as data", () => {
  for (const kind of serverKinds) {
    it.live(`the URL of a server ${kind.name}, from its start to its deregistration, and the id of its service`, () =>
      Effect.gen(function* () {
        const { layer, lines } = keeping()
        const agent = yield* startConsulAgentStub(({ path }, response) => {
          if (!path.includes("/deregister/")) return false
          response.writeHead(403).end("no")
          return true
        })
        const server = kind
          .layer({ host: "127.0.0.1" })
          .pipe(
            Layer.provide(ConsulAgent.layer({ address: agent.address, serviceId: "app-1" })),
            Layer.provide(Registry.layer(new PromRegistry())),
            Layer.provide(layer)
          )
        yield* Effect.scoped(Layer.build(server))
        const [started, stayed, ...others] = lines
        assert.lengthOf(others, 0)
        const [, metrics_url] = /^metrics at (\S+), registered by/.exec(started?.[0] ?? "") ?? []
        assert.deepStrictEqual(started?.[1], { metrics_url })
        assert.match(stayed?.[0] ?? "", /^the service app-1 may still be registered/)
        assert.deepStrictEqual(stayed?.[1], { metrics_url, service_id: "app-1" })
      }).pipe(Effect.scoped)
    )
  }

  it.effect("the name of a metric that fails, and what it was called for", () =>
    Effect.gen(function* () {
      const { layer, lines } = keeping()
      const inc = (): never => {
        throw new Error("the name of a label is wrong")
      }
      for (const counter of [{ name: "jobs_total", inc }, { inc }]) {
        yield* Effect.fail("no").pipe(
          Metrics.countExceptions(counter),
          Effect.ignore,
          Effect.annotateLogs("request", 7),
          Effect.provideService(Registry.Registry, new PromRegistry()),
          Effect.provide(layer)
        )
      }
      assert.deepStrictEqual(
        lines.map(([, data]) => data),
        [
          { request: 7, metric: "jobs_total", operation: "inc" },
          { request: 7, operation: "inc" }
        ]
      )
    })
  )
})
