/**
 * An HTTP service with a timed handler: `npx tsx examples/timed-request-handler.ts`
 */
import { createServer } from "node:http"
import { HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { Exposition, Metrics } from "effect-prometheus"
import { Histogram } from "prom-client"

// The metric is yours: dashboards depend on its name, its help and its buckets.
const requestSeconds = new Histogram({ name: "req_time_seconds", help: "Time spent in requests, in seconds." })

// A combinator returns an effect of the same type, so you can measure any effect: a handler here, a query elsewhere.
// The duration is recorded on every exit, including requests that fail or that the client aborts.
const handler = Effect.sleep("1 second").pipe(
  Effect.zipRight(HttpServerResponse.text("hello\n")),
  Metrics.timed(requestSeconds)
)

const Application = HttpRouter.empty.pipe(
  HttpRouter.get("/", handler),
  HttpRouter.get("/metrics", Exposition.httpApp()),
  HttpServer.serve(),
  HttpServer.withLogAddress,
  Layer.provide(
    NodeHttpServer.layerConfig(createServer, {
      host: Config.succeed("127.0.0.1"),
      port: Config.withDefault(Config.integer("PORT"), 0)
    })
  )
)

NodeRuntime.runMain(Layer.launch(Application))
