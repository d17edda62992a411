/**
 * A metrics server beside the application, in the same process: `npx tsx examples/server-in-the-application.ts`
 */
import { createServer } from "node:http"
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { Metrics, MetricsServer } from "effect-prometheus"
import { Counter } from "prom-client"

class OutOfTea extends Error {}

const ordersRefused = new Counter({ name: "orders_refused_total", help: "Orders that could not be served." })

const order = Effect.fail(new OutOfTea("no tea today")).pipe(
  Metrics.countExceptions(ordersRefused, { only: OutOfTea }),
  // The error becomes a response after the combinator has counted it.
  Effect.catchAll((error) => HttpServerResponse.text(`${error.message}\n`, { status: 503 }))
)

const Application = HttpRouter.empty.pipe(
  HttpRouter.get("/tea", order),
  HttpServer.serve(),
  HttpServer.withLogAddress,
  Layer.provide(
    NodeHttpServer.layerConfig(createServer, {
      host: Config.succeed("127.0.0.1"),
      port: Config.withDefault(Config.integer("PORT"), 0)
    })
  )
)

// A separate port keeps the metrics away from the application's users, routes and middleware. This `host` allows scrapes
// from this machine only; leave it out to allow scrapes from other machines.
const TheMetrics = MetricsServer.layerConfig({
  host: Config.succeed("127.0.0.1"),
  port: Config.withDefault(Config.integer("METRICS_PORT"), 0)
})

NodeRuntime.runMain(Layer.launch(Layer.merge(Application, TheMetrics)))
