/**
 * A measured service that creates its own traffic: `npm run demo`
 *
 * `npm run demo -- --for "10 seconds"` ends by itself; `npm run demo -- --consul` registers the metrics with the Consul
 * agent of this machine, or the one in `CONSUL_HTTP_ADDR`.
 */
import { HttpServer } from "@effect/platform"
import { NodeHttpClient, NodeRuntime } from "@effect/platform-node"
import { Cause, ConfigError, Console, Duration, Effect, Layer, Option, Ref } from "effect"
import {
  ConsulAgent,
  DefaultMetrics,
  EffectMetrics,
  HttpMetrics,
  MetricsServer,
  ServiceDiscovery
} from "effect-prometheus"
import { readArguments } from "./demo/arguments.js"
import { host, localServer, preferring, sayingAtTheEnd, sayingWhenClosed } from "./demo/layers.js"
import { shop } from "./demo/shop.js"
import { visitors } from "./demo/visitors.js"

const preferred = { application: 3000, metrics: 9464 }

const Application = Layer.unwrapScoped(
  Effect.map(shop, (app) => HttpServer.serve(app, HttpMetrics.middleware({ exemplar: "currentSpan", sizes: true })))
).pipe(
  Layer.provideMerge(
    preferring(
      preferred.application,
      localServer,
      ({ cause }) => (cause as NodeJS.ErrnoException).code === "EADDRINUSE"
    )
  ),
  sayingWhenClosed("  the application is closed")
)

const Metrics = preferring(
  preferred.metrics,
  (port) => MetricsServer.layer({ host, port }),
  (error) => error._tag === "MetricsServerError" && error.reason === "AddressInUse"
).pipe(
  // The metrics of Node.js and Effect's own.
  Layer.merge(Layer.merge(DefaultMetrics.layer(), EffectMetrics.layer({ fibers: true }))),
  sayingWhenClosed("  the metrics server is closed")
)

const serviceId = `effect-prometheus-demo-${process.pid}`

// The discovery of the agent, which also prints a line after it has deregistered.
const Consul = Layer.effect(
  ServiceDiscovery.ServiceDiscovery,
  Effect.map(ServiceDiscovery.ServiceDiscovery, (agent) => ({
    ...agent,
    register: (server: ServiceDiscovery.RunningServer) =>
      Effect.zipRight(
        sayingAtTheEnd(Effect.succeed("  the metrics server is deregistered from Consul")),
        agent.register(server)
      )
  }))
).pipe(Layer.provide(ConsulAgent.layerEnv({ name: "effect-prometheus-demo", serviceId, required: true })))

const originOf = ({ address }: HttpServer.HttpServer) =>
  address._tag === "TcpAddress" ? `http://${address.hostname}:${address.port}` : address.path

const inUse = (port: number, url: string) => {
  const { port: used } = new URL(url)
  return used === String(port) ? [] : [`port ${port} is in use, using ${used}`]
}

const welcome = (application: string, metrics: string, duration: Duration.Duration | undefined) =>
  `
  application  ${application}
  metrics      ${metrics}

Open ${new URL("/", metrics)} in a browser to see the service live. Or in a terminal:
  curl -s ${metrics} | grep ^shop_
  curl -gs '${metrics}?name[]=http_server_requests_total'
  curl -s -H 'Accept: application/openmetrics-text' ${metrics} | grep trace_id

Ask Prometheus, once it scrapes ${new URL(metrics).host}:
  sum by (route, status) (rate(http_server_requests_total[1m]))
  histogram_quantile(0.95, sum by (route, le) (rate(http_server_request_duration_seconds_bucket[1m])))

Dashboards for Grafana and alert rules are in examples/monitoring.

${duration === undefined ? "Ctrl-C ends it." : `It ends by itself after ${Duration.format(duration)}, or with Ctrl-C.`}
`

const running = (duration: Duration.Duration | undefined) =>
  Effect.gen(function* () {
    const application = originOf(yield* HttpServer.HttpServer)
    const { url } = yield* MetricsServer.MetricsServer
    yield* Effect.forEach([...inUse(preferred.application, application), ...inUse(preferred.metrics, url)], (line) =>
      Console.log(line)
    )
    yield* Console.log(welcome(application, url, duration))

    // Finalizers run last in, first out: the visitors stop before this line is printed.
    const sent = yield* Ref.make(0)
    yield* sayingAtTheEnd(Effect.map(Ref.get(sent), (count) => `  the visitors have gone, after ${count} requests`))
    yield* Effect.forkScoped(visitors(application, sent))
    yield* sayingAtTheEnd(Effect.succeed("\nshutting down"))
    yield* duration === undefined ? Effect.never : Effect.sleep(duration)
  }).pipe(Effect.scoped, Effect.provide(NodeHttpClient.layer))

const demo = Effect.gen(function* () {
  const { duration, consul } = yield* readArguments(process.argv.slice(2))
  // The application closes before the metrics server, so that its last metrics can still be scraped.
  const servers = Layer.provideMerge(Application, consul ? Layer.provide(Metrics, Consul) : Metrics)
  yield* Effect.provide(running(duration), servers)
})

const messageOf = (error: Effect.Effect.Error<typeof demo>): string => {
  // The text of a ConfigError names its variable; its `message` does not.
  if (ConfigError.isConfigError(error)) return String(error)
  return error._tag === "ServeError" ? String(error.cause) : error.message
}

// Expected errors print their message; only defects print a stack trace.
const reported = Effect.tapErrorCause(demo, (cause) =>
  Option.match(Cause.failureOption(cause), {
    onNone: () => (Cause.isInterruptedOnly(cause) ? Effect.void : Effect.logError(cause)),
    onSome: (error) => Console.error(messageOf(error))
  })
)

NodeRuntime.runMain(reported, { disableErrorReporting: true })
