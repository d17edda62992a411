/**
 * The cost of measuring requests. First, a router of `@effect/platform` with twenty routes, without and with
 * `HttpMetrics.middleware`: the time of 200 sequential requests to a web handler without a socket. Second, the requests per
 * second of a `node:http` server with `httpMetrics`, without metrics, and with the same five prom-client metrics recorded
 * by hand.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { HttpApp, HttpRouter, HttpServerResponse } from "@effect/platform"
import { Context } from "effect"
import { HttpMetrics, Registry } from "effect-prometheus"
import { httpMetrics } from "effect-prometheus/Promises"
import * as promClient from "prom-client"
import { perSecond, plainServer } from "../load.js"
import { compare, type Row } from "../report.js"
import { alternate, type Measure, mapRounds, timing } from "../rounds.js"

const requests = 200
const routes = Array.from({ length: 20 }, (_, index) => `/things${index}/:id` as const)
const paths = routes.map((route) => route.replace(":id", "7"))

const webHandler = (middleware?: HttpMetrics.Middleware): Measure<number> => {
  const router = routes.reduce(
    (all, route) => HttpRouter.get(all, route, HttpServerResponse.text("ok")),
    HttpRouter.empty as HttpRouter.HttpRouter
  )
  const context = Context.make(Registry.Registry, new promClient.Registry())
  const handler = HttpApp.toWebHandler(router, middleware)
  let asked: ReadonlyArray<Request> = []
  const before = () => {
    asked = Array.from({ length: requests }, (_, at) => new Request(`http://localhost${paths[at % paths.length]}`))
  }
  const run = async () => {
    for (const request of asked) {
      const { status } = await handler(request, context)
      if (status !== 200) throw new Error(`a request got ${status}`)
    }
  }
  return timing(run, { iterations: 30, async: true, before })
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const answer: Handler = (_request, response) => {
  response.setHeader("content-type", "text/plain")
  response.end("ok")
}

const route = () => "/things/:id"

const measured = (): Handler => {
  const measure = httpMetrics({ registry: new promClient.Registry() })
  return (request, response) => {
    measure(request, response, route)
    answer(request, response)
  }
}

const byHand = (): Handler => {
  const registers = [new promClient.Registry()]
  const labelNames = ["method", "route", "status"]
  const sizes = { labelNames, registers, buckets: [1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8] }
  const buckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
  const total = new promClient.Counter({ name: "requests_total", help: "Requests.", labelNames, registers })
  const seconds = new promClient.Histogram({ name: "request_seconds", help: "Time.", labelNames, registers, buckets })
  const received = new promClient.Histogram({ name: "request_bytes", help: "Size.", ...sizes })
  const sent = new promClient.Histogram({ name: "response_bytes", help: "Size.", ...sizes })
  const running = new promClient.Gauge({ name: "in_progress", help: "Running.", labelNames: ["method"], registers })
  return (request, response) => {
    const start = performance.now()
    const method = request.method ?? ""
    running.inc({ method })
    let bytes = 0
    const { end, write } = response
    const count = (chunk: unknown) => {
      if (typeof chunk === "string") bytes += Buffer.byteLength(chunk)
      else if (chunk instanceof Uint8Array) bytes += chunk.byteLength
    }
    response.write = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
      count(args[0])
      return Reflect.apply(write, this, args)
    }
    response.end = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
      count(args[0])
      return Reflect.apply(end, this, args)
    }
    response.once("close", () => {
      const labels = { method, route: route(), status: response.statusCode }
      running.dec({ method })
      total.inc(labels)
      seconds.observe(labels, (performance.now() - start) / 1e3)
      received.observe(labels, Number(request.headers["content-length"] ?? 0))
      sent.observe(labels, bytes)
    })
    answer(request, response)
  }
}

const connections = 16

const overSockets = async () => {
  const servers = {
    ours: await plainServer(measured()),
    bare: await plainServer(answer),
    byHand: await plainServer(byHand())
  }
  const rates = await alternate(
    {
      ours: () => perSecond(servers.ours.url, connections),
      bare: () => perSecond(servers.bare.url, connections),
      byHand: () => perSecond(servers.byHand.url, connections)
    },
    { rounds: 7 }
  )
  for (const server of Object.values(servers)) server.close()
  return rates
}

export const httpRequests: Row = {
  id: "http-requests",
  title: "cost of measuring the requests of a server",
  run: async () => {
    const times = await alternate(
      { bare: webHandler(), ours: webHandler(HttpMetrics.middleware()) },
      { rounds: 25, warmup: 3 }
    )
    const microseconds = (name: "bare" | "ours") => mapRounds(times[name], (time) => (time / requests) * 1e3)
    const rates = await overSockets()
    const node = { name: "httpMetrics", unit: "requests/s", rounds: rates.ours } as const
    return {
      comparisons: [
        compare(
          { name: "HttpMetrics", unit: "µs", rounds: microseconds("ours") },
          { name: "bare", unit: "µs", rounds: microseconds("bare") },
          { what: "a router" }
        ),
        compare(node, { name: "bare", unit: "requests/s", rounds: rates.bare }, { what: "node:http" }),
        compare(node, { name: "by hand", unit: "requests/s", rounds: rates.byHand }, { what: "node:http" })
      ]
    }
  }
}
