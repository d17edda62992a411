import { assert, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../../src/ConsulAgent.js"
import * as MetricsServer from "../../src/MetricsServer.js"
import * as Registry from "../../src/Registry.js"
import { describeWith } from "../support/binaries.js"
import { certificate } from "../support/certificates.js"
import { consul, freePorts, prometheus, until } from "../support/services.js"
import { fencedBlocks, run, writeSnippets } from "../support/snippets.js"

/** The heading of the snippets. */
const guide = "Consul and Prometheus"

describeWith(["consul", "prometheus"], "The guide's way through Consul to Prometheus", () => {
  it.scopedLive(
    "works as printed, but for the ports",
    () =>
      Effect.gen(function* () {
        const snippet = fencedBlocks("docs/discover.md", "ts").find(({ title }) => title === guide)
        const scrapeConfigs = fencedBlocks("docs/discover.md", "yaml").find(({ title }) => title === guide)
        assert.isDefined(snippet)
        assert.isDefined(scrapeConfigs)

        const agent = yield* consul()
        const [port] = yield* freePorts(1)
        const code = snippet.code
          .replace("9464", String(port))
          .replace("ConsulAgent.layer({", `ConsulAgent.layer({ address: "${agent.address}",`)
        const [file = ""] = writeSnippets("readme-consul", [{ title: guide, code }])
        const program = yield* Effect.acquireRelease(
          Effect.sync(() => run(file)),
          ({ child }) => Effect.sync(() => child.exitCode ?? child.kill("SIGKILL"))
        )
        const registered = Effect.map(agent.services, (services) => "checkout" in services)
        yield* until("the service is registered", registered, (is) => is)
        const host = agent.address.replace("http://", "")
        const { query } = yield* prometheus("prometheus", scrapeConfigs.code.replace("127.0.0.1:8500", host))
        // Consul gives the node's address, 127.0.0.1 here, to a service that was bound to all interfaces.
        yield* until("it is up", query('up{job="checkout"}'), (up) => up === 1)
        program.child.kill("SIGTERM")
        assert.strictEqual(yield* Effect.promise(() => program.exited), 0)
        assert.deepEqual(yield* agent.services, {})
      }),
    600_000
  )

  it.scopedLive(
    "leads Prometheus to metrics at another path and behind TLS, as the service says itself",
    () =>
      Effect.gen(function* () {
        const scrapeConfigs = fencedBlocks("docs/discover.md", "yaml").find(({ title }) => title === guide)
        assert.isDefined(scrapeConfigs)
        const agent = yield* consul()
        const host = agent.address.replace("http://", "")
        const trusting = scrapeConfigs.code
          .replace("127.0.0.1:8500", host)
          .replace("- job_name: services", "- job_name: services\n    tls_config: { insecure_skip_verify: true }")
        const tls = yield* certificate
        yield* MetricsServer.layer({ host: "127.0.0.1", path: "/internal/metrics", tls }).pipe(
          Layer.provide(ConsulAgent.layer({ address: agent.address, name: "checkout" })),
          Layer.provide(Registry.layer(new PromRegistry())),
          Layer.build
        )
        const { query } = yield* prometheus("prometheus", trusting)
        yield* until("it is up", query('up{job="checkout"}'), (up) => up === 1)
      }),
    600_000
  )
})
