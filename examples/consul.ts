/**
 * A metrics server that Prometheus finds through Consul (`consul_sd_configs`): `npx tsx examples/consul.ts`
 *
 * It needs a running agent; `consul agent -dev` starts one.
 */
import { hostname } from "node:os"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { ConsulAgent, MetricsServer } from "effect-prometheus"
import { collectDefaultMetrics } from "prom-client"

collectDefaultMetrics()

// `layerEnv` finds the agent as Consul's own tools do, by CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and so on. Without them it
// uses the agent on this machine, like `layer`. Register with the local agent, never with a server of the cluster: the
// agent runs the health check and keeps the catalog up to date.
const Agent = ConsulAgent.layerEnv({
  name: "checkout",
  // The id identifies the instance: a second process with the same id would replace the first one.
  serviceId: `checkout-${hostname()}-${process.pid}`,
  tags: ["example"]
})

const TheMetrics = MetricsServer.layerConfig({
  // The registered address is this one. For scrapes from other machines, use an address that they can reach.
  host: Config.withDefault(Config.string("METRICS_HOST"), "127.0.0.1"),
  port: Config.withDefault(Config.integer("METRICS_PORT"), 0)
}).pipe(Layer.provide(Agent))

// On Ctrl-C the server deregisters first, and then closes.
NodeRuntime.runMain(Layer.launch(TheMetrics))
