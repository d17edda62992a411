import type { IncomingMessage, ServerResponse } from "node:http"
import * as PrometheusIo from "@prometheus-io/client"
import type { Request, Response } from "express"
import * as PromClient from "prom-client"
import { describe, expect, test } from "tstyche"
import { type HttpMeasure, type HttpNames, type HttpOutcome, httpMetrics } from "../../src/Promises.js"

const names = ["method", "route", "status"] as const
const mine = { name: "mine", help: "h", labelNames: names }
const requests = new PromClient.Counter(mine)
const duration = new PromClient.Summary(mine)
const newRequests = new PrometheusIo.Counter(mine)
const newDuration = new PrometheusIo.Histogram(mine)
const withTenant = new PromClient.Counter({ ...mine, labelNames: [...names, "tenant"] as const })
const inProgress = new PromClient.Gauge({ ...mine, labelNames: ["method"] as const })
const newInProgress = new PrometheusIo.Gauge({ ...mine, labelNames: ["method"] as const })
const otherNames = new PromClient.Counter({ ...mine, labelNames: ["method", "code"] as const })

declare const tenantOf: (request: IncomingMessage) => string

describe("httpMetrics", () => {
  test("gives what is called with a request of node:http, and of what extends it", () => {
    const measure = httpMetrics()
    expect(measure).type.toBe<HttpMeasure>()
    expect(measure).type.toBeCallableWith({} as IncomingMessage, {} as ServerResponse)
    expect(measure).type.toBeCallableWith({} as Request, {} as Response, () => "/users/:id")
    expect(measure).type.toBeCallableWith({} as Request, {} as Response, () => undefined)
    expect(measure).type.not.toBeCallableWith({} as Request, {} as Response, () => 7)
    expect(measure).type.not.toBeCallableWith({} as Request)
  })

  test("takes its options, and no others", () => {
    expect(httpMetrics).type.toBeCallableWith({ registry: new PrometheusIo.Registry(), buckets: [1, 2] })
    expect(httpMetrics).type.toBeCallableWith({ exclude: ["/health", "/static/*"] })
    expect(httpMetrics).type.toBeCallableWith({ sizes: true })
    expect(httpMetrics).type.not.toBeCallableWith({ sizes: "yes" })
    expect(httpMetrics).type.toBeCallableWith({ exclude: ({ method }: IncomingMessage) => method === "OPTIONS" })
    expect(httpMetrics).type.not.toBeCallableWith({ exclude: "/health" })
    expect(httpMetrics).type.not.toBeCallableWith({ prefix: "mine" })
  })

  test("asks for a value of each further label, and for no other", () => {
    const labelNames = ["tenant"] as const
    expect(httpMetrics).type.toBeCallableWith({
      labelNames: ["tenant"],
      labels: (request: IncomingMessage) => ({ tenant: tenantOf(request) })
    })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames, labels: () => ({ tennant: "a" }) })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames, labels: () => ({ tenant: "a", other: "b" }) })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames, labels: () => ({}) })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames, labels: () => ({ tenant: true }) })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames })
    expect(httpMetrics).type.not.toBeCallableWith({ labels: () => ({ tenant: "a" }) })
  })

  test("takes metrics with exactly the labels that are recorded, of either client, or false", () => {
    expect(httpMetrics).type.toBeCallableWith({ metrics: { requests, duration, inProgress, requestSize: false } })
    expect(httpMetrics).type.toBeCallableWith({
      metrics: { requests: newRequests, duration: newDuration, inProgress: newInProgress }
    })
    expect(httpMetrics).type.toBeCallableWith({
      metrics: { requests: withTenant, inProgress },
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { requests: withTenant } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { requests: otherNames } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { requests: inProgress } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { duration: requests } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { inProgress: requests } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { request: requests } })
    expect(httpMetrics).type.not.toBeCallableWith({
      metrics: { requests },
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
  })

  test("takes names that Prometheus takes, each once, and a unit", () => {
    expect(httpMetrics).type.toBeCallableWith({
      names: { status: "status_code" },
      durationUnit: "milliseconds" as const
    })
    expect(httpMetrics).type.toBeCallableWith({ names: { requests: "a:requests", method: "verb" } })
    expect(httpMetrics).type.toBeCallableWith({ names: {} })
    expect(httpMetrics).type.toBeCallableWith({ names: { status: "path" as string } })
    expect(httpMetrics).type.toBeCallableWith({ names: { route: "path" as string, status: "code" } })
    expect(httpMetrics).type.toBeCallableWith({
      names: { route: "path" as string },
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
    expect(httpMetrics).type.toBeCallableWith({
      names: {} as HttpNames,
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { route: "path" as string, status: "2xx" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { state: "status_code" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: 7 } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "status-code" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "2xx" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "__status" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "a:status" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "le" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { duration: "http.duration" } })
    expect(httpMetrics).type.not.toBeCallableWith({ durationUnit: "minutes" as const })
  })

  test("refuses a name that another label or metric has", () => {
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "route" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "path", route: "path" } })
    expect(httpMetrics).type.toBeCallableWith({ names: { status: "route", route: "path" } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { requests: "http", duration: "http" } })
    const labels = () => ({ tenant: "a" })
    expect(httpMetrics).type.toBeCallableWith({ names: { status: "code" }, labelNames: ["tenant"], labels })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { status: "tenant" }, labelNames: ["tenant"], labels })
  })

  test("takes metrics with exactly the labels that the names say", () => {
    const named = { ...mine, labelNames: ["method", "path", "code"] as const }
    const names = { route: "path", status: "code" } as const
    const byVerb = new PromClient.Gauge({ ...mine, labelNames: ["verb"] as const })
    expect(httpMetrics).type.toBeCallableWith({ names, metrics: { requests: new PromClient.Counter(named) } })
    expect(httpMetrics).type.toBeCallableWith({ names, metrics: { requests: new PrometheusIo.Counter(named) } })
    expect(httpMetrics).type.toBeCallableWith({ names: { method: "verb" }, metrics: { inProgress: byVerb } })
    expect(httpMetrics).type.not.toBeCallableWith({ names, metrics: { requests } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { requests: new PromClient.Counter(named) } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { inProgress: byVerb } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: { method: "verb" }, metrics: { inProgress } })
  })

  test("takes the names of OpenTelemetry, and metrics with exactly their labels", () => {
    const arrival = ["http_request_method", "url_scheme"] as const
    const end = [...arrival, "http_route", "http_response_status_code", "error_type"] as const
    const ended = { ...mine, labelNames: end }
    const active = new PromClient.Gauge({ ...mine, labelNames: arrival })
    const newActive = new PrometheusIo.Gauge({ ...mine, labelNames: arrival })
    expect(httpMetrics).type.toBeCallableWith({ names: "otel" })
    expect(httpMetrics).type.toBeCallableWith({ names: "otel", sizes: true })
    expect(httpMetrics).type.toBeCallableWith({
      names: "otel",
      metrics: { requests: new PromClient.Counter(ended), duration: new PrometheusIo.Histogram(ended) }
    })
    expect(httpMetrics).type.toBeCallableWith({
      names: "otel",
      metrics: { duration: new PromClient.Histogram(ended), requestSize: false, inProgress: active }
    })
    expect(httpMetrics).type.toBeCallableWith({ names: "otel", metrics: { inProgress: newActive } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "OTel" })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "otel" as string })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "otel", metrics: { requests } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "otel", metrics: { requests: newRequests } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "otel", metrics: { inProgress } })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "otel", metrics: { inProgress: newInProgress } })
    expect(httpMetrics).type.not.toBeCallableWith({
      names: "otel",
      metrics: { requests: new PromClient.Counter({ ...mine, labelNames: [...end, "tenant"] as const }) }
    })
    expect(httpMetrics).type.not.toBeCallableWith({
      names: "otel",
      metrics: { duration: new PromClient.Histogram({ ...mine, labelNames: [...arrival, "http_route"] as const }) }
    })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { duration: new PromClient.Histogram(ended) } })
    expect(httpMetrics).type.not.toBeCallableWith({ metrics: { inProgress: active } })
    expect(httpMetrics).type.toBeCallableWith({
      names: "otel",
      metrics: { requests: new PromClient.Counter({ ...mine, labelNames: [...end, "tenant"] as const }) },
      labelNames: ["tenant"],
      labels: () => ({ tenant: "a" })
    })
  })

  test("takes additional labels that are not those of the names", () => {
    const scheme = () => ({ url_scheme: "a" })
    const method = () => ({ method: "a" })
    expect(httpMetrics).type.toBeCallableWith({ labelNames: ["url_scheme"], labels: scheme })
    expect(httpMetrics).type.not.toBeCallableWith({ names: "otel", labelNames: ["url_scheme"], labels: scheme })
    expect(httpMetrics).type.toBeCallableWith({ names: "otel", labelNames: ["method"], labels: method })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames: ["method"], labels: method })
    expect(httpMetrics).type.not.toBeCallableWith({ labelNames: ["le"], labels: () => ({ le: "a" }) })
    expect(httpMetrics).type.not.toBeCallableWith({
      names: "otel",
      labelNames: ["tenant", "error_type"],
      labels: () => ({ tenant: "a", error_type: "b" })
    })
    expect(httpMetrics).type.toBeCallableWith({ names: { method: "verb" }, labelNames: ["method"], labels: method })
    const labelNames: ReadonlyArray<string> = ["tenant"]
    expect(httpMetrics).type.toBeCallableWith({ labelNames, labels: () => ({ tenant: "a" }) })
  })

  test("takes routes, content types or a function for answers that last", () => {
    expect(httpMetrics).type.toBeCallableWith({ longLived: ["text/event-stream", "/poll/:id"] })
    expect(httpMetrics).type.toBeCallableWith({
      longLived: (request: IncomingMessage, response: ServerResponse) => request.url === "/" && response.headersSent
    })
    expect(httpMetrics).type.not.toBeCallableWith({ longLived: "text/event-stream" })
    expect(httpMetrics).type.not.toBeCallableWith({ longLived: async () => true })
  })

  test("gives labels how the request has ended", () => {
    expect(httpMetrics).type.toBeCallableWith({
      labelNames: ["cut"],
      labels: (_: IncomingMessage, __: ServerResponse, { cut, route, status }: HttpOutcome) => ({
        cut: cut ?? `${route} ${status}`
      })
    })
  })
})
