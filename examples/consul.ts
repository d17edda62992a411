/**
 * A metrics server that Prometheus finds through Consul (`consul_sd_configs`): `npx tsx examples/consul.ts`
 *
 * It needs an agent; `consul agent -dev` starts one.
 */
import { hostname } from "node:os"
import { NodeRuntime } from "@effect/platform-node"
import { Config, Layer } from "effect"
import { ConsulAgent, MetricsServer } from "effect-prometheus"
import { collectDefaultMetrics } from "prom-client"

collectDefaultMetrics()

// `layerEnv` finds the agent as Consul's own tools do, by CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN and so on; without them it
// is the one on this machine, as with `layer`. It is the agent of this machine that is asked, never a server of the
// cluster: the agent checks that we are alive, and takes care that the catalog knows of us.
const Agent = ConsulAgent.layerEnv({
  name: "checkout",
  // To one agent the id is the instance: a second process with the same id would take the place of the first.
  serviceId: `checkout-${hostname()}-${process.pid}`,
  tags: ["example"]
})

const TheMetrics = MetricsServer.layerConfig({
  // What is bound is what is advertised. To be scraped from other machines, bind an address that they can reach.
  host: Config.withDefault(Config.string("METRICS_HOST"), "127.0.0.1"),
  port: Config.withDefault(Config.integer("METRICS_PORT"), 0)
}).pipe(Layer.provide(Agent))

// On Ctrl-C the registration is taken back first, and then the server closes.
NodeRuntime.runMain(Layer.launch(TheMetrics))
