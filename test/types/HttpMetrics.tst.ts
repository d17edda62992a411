import type { HttpApp, HttpLayerRouter, HttpServerResponse } from "@effect/platform"
import { HttpApiBuilder, HttpMiddleware, HttpRouter, HttpServer } from "@effect/platform"
import { Rpc, RpcGroup } from "@effect/rpc"
import * as PrometheusIo from "@prometheus-io/client"
import { Config, type ConfigError, type Effect, Exit, flow, type Layer } from "effect"
import * as PromClient from "prom-client"
import { describe, expect, test } from "tstyche"
import type { Exchange, HttpMetricsError, Middleware } from "../../src/HttpMetrics.js"
import { layer, layerConfig, makeMiddleware, middleware, rpc } from "../../src/HttpMetrics.js"

interface Database {
  readonly _: unique symbol
}
declare const app: HttpApp.Default<"failed", Database>

const plain = { name: "plain", help: "h" }
const three = { ...plain, labelNames: ["method", "route", "status"] as const }
const four = { ...plain, labelNames: ["method", "route", "status", "tenant"] as const }

describe("what it is put around keeps its type", () => {
  test("an app", () => {
    expect(middleware()(app)).type.toBe<HttpApp.Default<"failed", Database>>()
    expect(makeMiddleware()).type.toBe<Effect.Effect<Middleware, HttpMetricsError>>()
  })

  test("each way to serve takes it, and with another one", () => {
    expect(HttpServer.serve).type.toBeCallableWith(app, middleware())
    expect(HttpRouter.Default.serve).type.toBeCallableWith(middleware())
    expect(HttpApiBuilder.serve).type.toBeCallableWith(middleware())
    expect(HttpApiBuilder.serve).type.toBeCallableWith(flow(middleware(), HttpMiddleware.logger))
    expect(layer()).type.toBe<Layer.Layer<never, HttpMetricsError, HttpLayerRouter.HttpRouter>>()
    expect(layerConfig({ exclude: Config.succeed(["/health"]) })).type.toBe<
      Layer.Layer<never, ConfigError.ConfigError | HttpMetricsError, HttpLayerRouter.HttpRouter>
    >()
  })
})

describe("further labels", () => {
  test("are worked out from the exchange", () => {
    expect(makeMiddleware).type.toBeCallableWith({
      labelNames: ["tenant", "code"],
      labels: ({ exit, request }: Exchange) => ({
        tenant: request.headers["x-tenant"] ?? "none",
        code: Exit.isSuccess(exit) ? 1 : 0
      })
    })
    makeMiddleware({
      labelNames: ["tenant"],
      labels: (exchange) => {
        expect(exchange).type.toBe<Exchange>()
        expect(exchange.exit).type.toBe<Exit.Exit<HttpServerResponse.HttpServerResponse, unknown>>()
        return { tenant: exchange.route }
      }
    })
  })

  test("are exactly those that are named", () => {
    expect(middleware).type.not.toBeCallableWith({ labelNames: ["tenant"] })
    expect(middleware).type.not.toBeCallableWith({ labels: () => ({ tenant: "a" }) })
    expect(middleware).type.not.toBeCallableWith({ labelNames: ["tenant"], labels: () => ({}) })
    expect(middleware).type.not.toBeCallableWith({ labelNames: ["tenant"], labels: () => ({ tenant: undefined }) })
    expect(middleware).type.not.toBeCallableWith({ labelNames: ["tenant"], labels: () => ({ tenent: "a" }) })
    expect(middleware).type.not.toBeCallableWith({ labelNames: ["tenant"], labels: () => ({ tenant: "a", more: "b" }) })
    expect(layer).type.not.toBeCallableWith({ labelNames: ["tenant"], labels: () => ({ tenant: "a", more: "b" }) })
  })
})

describe("own metrics", () => {
  test("of either client, or missing", () => {
    expect(makeMiddleware).type.toBeCallableWith({
      metrics: {
        requests: new PromClient.Counter(three),
        duration: new PrometheusIo.Histogram(three),
        requestSize: false,
        responseSize: new PromClient.Summary(three),
        inProgress: new PromClient.Gauge({ ...plain, labelNames: ["method"] as const })
      }
    })
    expect(makeMiddleware).type.toBeCallableWith({
      metrics: { requests: new PromClient.Counter(four) },
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
  })

  test("have exactly the labels that are recorded", () => {
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { requests: new PromClient.Counter(plain).labels() } })
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { requests: new PromClient.Counter(four) } })
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { duration: new PrometheusIo.Histogram(four) } })
    expect(makeMiddleware).type.not.toBeCallableWith({
      metrics: { requests: new PromClient.Counter(three) },
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { inProgress: new PromClient.Gauge(three) } })
  })

  test("can do what is asked of them, and are known", () => {
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { duration: new PromClient.Counter(three) } })
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { durations: false } })
    expect(makeMiddleware).type.not.toBeCallableWith({ metrics: { duration: true } })
  })
})

test("the names of OpenTelemetry, and metrics with exactly their labels", () => {
  const arrival = ["http_request_method", "url_scheme"] as const
  const end = [...arrival, "http_route", "http_response_status_code", "error_type"] as const
  const ended = { ...plain, labelNames: end }
  const metrics = {
    duration: new PromClient.Histogram(ended),
    inProgress: new PrometheusIo.Gauge({ ...plain, labelNames: arrival })
  }
  expect(middleware).type.toBeCallableWith({ names: "otel", metrics })
  expect(makeMiddleware).type.toBeCallableWith({ names: "otel", metrics })
  expect(layer).type.toBeCallableWith({ names: "otel", metrics })
  expect(layerConfig).type.toBeCallableWith({}, { names: "otel", metrics })
  expect(layer).type.toBeCallableWith({
    names: "otel",
    metrics: { requests: new PromClient.Counter({ ...plain, labelNames: [...end, "tenant"] as const }) },
    labelNames: ["tenant"],
    labels: ({ route }: Exchange) => ({ tenant: route })
  })
  expect(middleware).type.not.toBeCallableWith({ metrics })
  expect(layerConfig).type.not.toBeCallableWith({}, { metrics })
  expect(layer).type.not.toBeCallableWith({ names: "otel", metrics: { duration: new PromClient.Histogram(three) } })
  expect(layerConfig).type.not.toBeCallableWith({}, { names: "otel", metrics: { inProgress: metrics.duration } })
  expect(layer).type.not.toBeCallableWith({ names: "opentelemetry" })
  const labels = () => ({ http_route: "a" })
  expect(layer).type.not.toBeCallableWith({ names: "otel", labelNames: ["http_route"], labels })
  expect(layer).type.toBeCallableWith({ labelNames: ["http_route"], labels })
})

test("options", () => {
  expect(makeMiddleware).type.toBeCallableWith({
    exclude: ["/health"],
    buckets: [1, 2],
    sizes: true,
    exemplar: "currentSpan" as const
  })
  expect(layerConfig).type.toBeCallableWith({ sizes: Config.boolean("SIZES") })
  expect(makeMiddleware).type.not.toBeCallableWith({ sizes: "yes" })
  expect(layerConfig).type.not.toBeCallableWith({ sizes: Config.string("SIZES") })
  expect(makeMiddleware).type.not.toBeCallableWith({ exclude: "/health" })
  expect(makeMiddleware).type.not.toBeCallableWith({ exemplar: "span" })
  expect(makeMiddleware).type.not.toBeCallableWith({ exlude: [] })
})

test("a group of RPCs keeps its type", () => {
  class Users extends RpcGroup.make(Rpc.make("user")) {}
  const group = RpcGroup.make(Rpc.make("user"), Rpc.make("users"))
  expect(rpc(group)).type.toBe<typeof group>()
  expect(rpc(Users)).type.toBe<typeof Users>()
  expect(rpc).type.not.toBeCallableWith(Rpc.make("user"))
  expect(rpc).type.not.toBeCallableWith({})
})
