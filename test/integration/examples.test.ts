import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { describeWith } from "../support/binaries.js"
import { consul, until } from "../support/services.js"
import { root, run } from "../support/snippets.js"

/** An example that runs against the agent, ended with the scope if it has not ended by itself. */
const example = (file: string, address: string, ...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.sync(() => run(join(root, "examples", file), { CONSUL_HTTP_ADDR: address }, args)),
    ({ child }) => Effect.sync(() => child.exitCode ?? child.kill("SIGKILL"))
  )

describeWith(["consul"], "With a Consul agent", () => {
  it.scopedLive("the example that registers is there while it runs, and gone when it has ended", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const { child, exited, output } = yield* example("consul.ts", agent.address)
      const count = Effect.map(agent.services, (services) => Object.keys(services).length)
      yield* until("it is registered", count, (known) => known === 1)
      child.kill("SIGTERM")
      assert.strictEqual(yield* Effect.promise(() => exited), 0, output())
      assert.strictEqual(yield* count, 0)
    })
  )

  it.scopedLive("the demo with --consul is registered while it runs, and deregisters before it closes", () =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const { exited, output } = yield* example("demo.ts", agent.address, "--consul", "--for", "10 seconds")
      const names = Effect.map(agent.services, (services) => Object.values(services).map(({ Service }) => Service))
      yield* until("it is registered", names, (known) => known.includes("effect-prometheus-demo"))
      assert.strictEqual(yield* Effect.promise(() => exited), 0, output())
      assert.deepEqual(yield* names, [])
      const said = output()
      assert.include(said, "registered by the Consul agent")
      assert.match(said, /the metrics server is deregistered from Consul.*the metrics server is closed/s)
    })
  )
})
