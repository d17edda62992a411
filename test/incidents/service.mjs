// A service on the built package, which an incident breaks: its argument has the options of its metrics server and of its
// registration, and a POST to /break what is wrong with it from then on. It sends the ports of its
// metrics and its requests to its parent, and ends with it.
import { createServer } from "node:http"
import { json } from "node:stream/consumers"
import { setTimeout as sleep } from "node:timers/promises"
import { getHeapStatistics } from "node:v8"
import { Effect, Layer, Redacted } from "effect"
import { ConsulAgent, DefaultMetrics, MetricsServer } from "effect-prometheus"
import { httpMetrics } from "effect-prometheus/Promises"
import { Counter, Gauge } from "prom-client"

const { consul, names, port = 0, tls, token } = JSON.parse(process.argv[2])

const metricsServer = MetricsServer.layer({
  host: "127.0.0.1",
  port,
  ...(tls && { tls }),
  ...(token && { authentication: { tokens: [Redacted.make(token)] } })
})
const registered = consul ? Layer.provide(metricsServer, ConsulAgent.layer(consul)) : metricsServer

// What is wrong: how often requests fail by path, whether they hang, and how long they take.
const broken = { fail: {}, hang: false, slow: 0, collect: 0 }

new Gauge({
  name: "queue_length",
  help: "Jobs in the queue.",
  collect() {
    if (broken.collect < 0) throw new Error("the queue does not answer")
    acts.block(broken.collect)
    this.set(1)
  }
})
const visits = new Counter({ name: "visits_total", help: "Visits.", labelNames: ["visitor"] })

const kept = []
const tenth = 100

/** What happens in the process itself. */
const acts = {
  block: (milliseconds) => {
    const end = Date.now() + milliseconds
    while (Date.now() < end);
  },
  busy: () => {
    const work = () => {
      acts.block(49)
      setTimeout(work, 1)
    }
    work()
  },
  // In bytes per second, as objects of about 40 bytes. From half of the limit on, a fifth of it.
  heap: (rate) =>
    setInterval(() => {
      const { heap_size_limit: limit, used_heap_size: used } = getHeapStatistics()
      const length = (used < limit / 2 ? rate : rate / 5) / 10 / 40
      kept.push(Array.from({ length }, (_, at) => ({ at })))
    }, tenth),
  outside: (rate) => setInterval(() => kept.push(Buffer.alloc(rate / 10, 1)), tenth),
  series: (rate) =>
    setInterval(() => {
      for (let at = 0; at < rate / 10; at += 1) visits.inc({ visitor: `${kept.push(0)}` })
    }, tenth),
  exit: (code) => process.exit(code)
}

const measure = httpMetrics({ exclude: ["/break"], ...(names && { names }) })

const app = createServer(async (request, response) => {
  const { url: path = "/" } = request
  if (path === "/break") {
    const wrong = await json(request)
    response.end()
    for (const [what, how] of Object.entries(wrong)) {
      if (what in acts) setImmediate(acts[what], how)
      else broken[what] = how
    }
    return
  }
  measure(request, response, () => path)
  if (broken.hang) return
  if (broken.slow > 0) await sleep(broken.slow)
  response.writeHead(Math.random() < (broken.fail[path] ?? broken.fail["*"] ?? 0) ? 500 : 200).end()
})

process.once("disconnect", () => process.exit())

await Effect.gen(function* () {
  const { address } = yield* MetricsServer.MetricsServer
  app.listen(0, "127.0.0.1", () => process.send({ metrics: address.port, requests: app.address().port }))
  return yield* Effect.never
}).pipe(Effect.provide(Layer.merge(registered, DefaultMetrics.layer())), Effect.runPromise)
