/**
 * The metrics as a route of an existing application: `npx tsx examples/mounted-in-an-application.ts`
 */
import { createServer } from "node:http"
import { HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Tracer } from "effect"
import { Exposition, Metrics } from "effect-prometheus"
import { Gauge } from "prom-client"

const visitors = new Gauge({ name: "visitors_in_progress", help: "Requests that are being answered." })

// Takes the place of the trace exporter of an application.
const PrintedSpans = Layer.unwrapEffect(
  Effect.map(Effect.tracer, (tracer) => {
    const span: Tracer.Tracer["span"] = (...args) => {
      console.log(`span: ${args[0]}`)
      return tracer.span(...args)
    }
    return Layer.setTracer(Tracer.make({ context: tracer.context, span }))
  })
)

const Application = HttpRouter.empty.pipe(
  HttpRouter.get("/hello", Metrics.trackInProgress(HttpServerResponse.text("hello\n"), visitors)),
  // The handler keeps scrapes out of the access log of HttpMiddleware.logger.
  HttpRouter.get("/metrics", Exposition.httpApp()),
  HttpServer.serve(HttpMiddleware.logger),
  HttpServer.withLogAddress,
  // Keeps scrapes out of the traces. The handler cannot do this, because the span of a request begins before it runs. In
  // a quiet service, a scrape every 15 seconds would be the majority of all traces.
  Exposition.withTracerDisabled(),
  Layer.provide(
    NodeHttpServer.layerConfig(createServer, {
      host: Config.succeed("127.0.0.1"),
      port: Config.withDefault(Config.integer("PORT"), 0)
    })
  ),
  Layer.provide(PrintedSpans)
)

NodeRuntime.runMain(Layer.launch(Application))
