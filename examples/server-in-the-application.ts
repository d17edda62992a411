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
  // Outside of the combinator the error may become an answer: it has been counted by then.
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

// A port of its own keeps the metrics away from the application's users, and needs none of its routes or middleware.
// The host keeps them on this machine here; leave it out to be scraped from another one.
const TheMetrics = MetricsServer.layerConfig({
  host: Config.succeed("127.0.0.1"),
  port: Config.withDefault(Config.integer("METRICS_PORT"), 0)
})

NodeRuntime.runMain(Layer.launch(Layer.merge(Application, TheMetrics)))
