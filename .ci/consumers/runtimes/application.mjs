// An application on the installed package, for any runtime: measured code, five servers, and a control by its standard
// input. checks.mjs starts it on a runtime and sends the requests.
import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import { createInterface } from "node:readline"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { Effect, Exit, Layer, ManagedRuntime, Metric, Scope, Stream } from "effect"
import {
  DefaultMetrics,
  EffectMetrics,
  Exposition,
  HttpMetrics,
  Metrics,
  MetricsServer,
  Registry,
  StreamMetrics
} from "effect-prometheus"
import {
  consulAgent,
  countExceptions,
  hashPassword,
  httpMetrics,
  instrumented,
  nodeListener,
  startHttpServer,
  startHttpServerInThread,
  timed,
  trackInProgress,
  webHandler
} from "effect-prometheus/Promises"

const { certificates, certificateFiles, client, consul } = JSON.parse(readFileSync(process.argv[2], "utf8"))
const Client = await import(client)
const host = "127.0.0.1"
const help = "For the checks."

const seconds = new Client.Histogram({ name: "job_seconds", help, labelNames: ["kind"] })
const failures = new Client.Counter({ name: "job_failures_total", help, labelNames: ["kind"] })
const inProgress = new Client.Gauge({ name: "jobs_in_progress", help, labelNames: ["kind"] })

const measures = (kind) => ({
  duration: { metric: seconds, labels: { kind } },
  exceptions: { metric: failures, labels: { kind } },
  inProgress: { metric: inProgress, labels: { kind } }
})

/** Each kind of measured code: two runs that succeed, and one that fails. */
const work = async () => {
  const settled = (promise) =>
    promise.then(
      () => {},
      () => {}
    )
  const effect = Metrics.instrumented(Effect.sleep("1 millis"), measures("effect"))
  await Effect.runPromise(effect)
  await Effect.runPromise(effect)
  await settled(Effect.runPromise(Metrics.instrumented(Effect.fail("no"), measures("effect"))))

  const promise = instrumented(measures("promise"))(async (isGood) => {
    if (!isGood) throw new Error("no")
  })
  await promise(true)
  await promise(true)
  await settled(promise(false))

  const labels = { kind: "separate" }
  const separate = timed(seconds, { labels })(
    countExceptions(failures, { labels })(
      trackInProgress(inProgress, { labels })((isGood) => {
        if (!isGood) throw new Error("no")
        return isGood
      })
    )
  )
  for (const isGood of [1, 2, 0]) {
    try {
      if (separate(isGood) instanceof Promise) throw new TypeError("a synchronous function became asynchronous")
    } catch (error) {
      if (error instanceof TypeError) throw error
    }
  }

  const stream = Stream.fromIterable([1, 2]).pipe(StreamMetrics.timed(seconds, { labels: { kind: "stream" } }))
  for (let run = 0; run < 3; run += 1) await Effect.runPromise(Stream.runDrain(stream))

  const interrupted = Metrics.instrumented(Effect.never, measures("interrupted"))
  await Effect.runPromise(Effect.timeoutOption(interrupted, "5 millis"))

  Effect.runSync(Metric.incrementBy(Metric.counter("effect_jobs"), 3))
}

const scope = Effect.runSync(Scope.make())
const built = (layer) => Effect.runPromise(Scope.extend(Layer.build(layer), scope))

const listening = async (server) => {
  await new Promise((resolve) => server.listen(0, host, resolve))
  return server.address().port
}

/** An application of @effect/platform, on Bun's own server if this is Bun. */
const platform = async () => {
  const router = HttpRouter.empty.pipe(
    HttpRouter.get("/users/:id", HttpServerResponse.text("a user")),
    HttpRouter.get("/slow", Effect.as(Effect.sleep("1 minute"), HttpServerResponse.text("late"))),
    HttpRouter.get("/fail", Effect.die(new Error("no"))),
    HttpRouter.post(
      "/echo",
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        Effect.map(request.text, (text) => HttpServerResponse.text(text))
      )
    ),
    HttpRouter.get(
      "/socket",
      Effect.gen(function* () {
        const request = yield* HttpServerRequest.HttpServerRequest
        const socket = yield* request.upgrade
        const write = yield* socket.writer
        yield* Effect.ignore(socket.run((data) => write(data)))
        return HttpServerResponse.empty()
      }).pipe(Effect.scoped)
    )
  )
  const served = HttpServer.serve(router, HttpMetrics.middleware({ sizes: true }))
  const ports = []
  const noticed = Layer.effectDiscard(Effect.map(HttpServer.HttpServer, ({ address }) => void ports.push(address.port)))
  const server =
    process.versions.bun === undefined
      ? (await import("@effect/platform-node/NodeHttpServer")).layer(createServer, { host, port: 0 })
      : (await import("@effect/platform-bun/BunHttpServer")).layer({ hostname: host, port: 0 })
  await built(Layer.provide(Layer.merge(served, noticed), server))
  return ports[0]
}

/** An application of node:http. */
const plain = async () => {
  const names = Object.fromEntries(
    ["requests", "duration", "requestSize", "responseSize", "inProgress"].map((name) => [name, `plain_${name}`])
  )
  const measure = httpMetrics({ names, sizes: true })
  const metrics = nodeListener()
  const server = createServer((request, response) => {
    const [path] = request.url.split("?")
    measure(request, response, () => (path === "/missing" ? undefined : path))
    if (path === "/metrics") return metrics(request, response)
    if (path === "/slow") return response.write("a part")
    if (path === "/silent") return undefined
    response.writeHead(path === "/missing" ? 404 : 200).end("done")
  })
  const port = await listening(server)
  const close = () =>
    new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections()
    })
  return { port, close }
}

const users = { prometheus: await hashPassword("correct horse") }
const secure = {
  host,
  log: false,
  authentication: { users, tokens: ["0123456789abcdef0123"] },
  tls: { key: certificateFiles.key, cert: certificateFiles.cert, reloadInterval: "100 millis" }
}
const mutual = {
  host,
  log: false,
  tls: { ...certificates.server, ca: certificates.authority, clientCertificate: "required" }
}

await work()
await built(Layer.merge(DefaultMetrics.layer(), EffectMetrics.layer()))

const own = { host, grace: "5 seconds", log: false }
const serviceDiscovery = consul && ((name) => ({ serviceDiscovery: consulAgent({ name, address: consul }) }))
const servers = {
  plainHttp: await startHttpServer({ ...own, grace: undefined, ...serviceDiscovery?.("in-process") }),
  plainHttpInThread: await startHttpServerInThread({ ...own, ...serviceDiscovery?.("in-thread") }),
  secure: await startHttpServer(secure),
  secureInThread: await startHttpServerInThread({ ...secure, grace: "5 seconds" }),
  mutual: await startHttpServer(mutual),
  mutualInThread: await startHttpServerInThread({ ...mutual, grace: "5 seconds" })
}
const applications = { platform: await platform(), plain: await plain() }

const errorOf = (promise) =>
  promise.then(
    () => "none",
    ({ _tag, reason, port }) => ({ _tag, reason, port })
  )

/** What the driver can ask for, by name. */
const commands = {
  text: async () => await (await webHandler()(new Request("http://127.0.0.1/metrics"))).text(),
  render: () => Effect.runPromise(Exposition.render({ accept: "application/openmetrics-text" })),
  portInUse: async () => {
    const { port } = servers.plainHttp.address
    return [await errorOf(startHttpServer({ host, port })), await errorOf(startHttpServerInThread({ host, port }))]
  },
  layer: async () => {
    const runtime = ManagedRuntime.make(MetricsServer.layer({ host }).pipe(Layer.provide(Registry.layerFresh)))
    const url = await runtime.runPromise(Effect.map(MetricsServer.MetricsServer, ({ url }) => url))
    const { status } = await fetch(url)
    await runtime.dispose()
    return {
      status,
      after: await fetch(url).then(
        () => "open",
        () => "closed"
      )
    }
  },
  registered: async () =>
    Object.values(servers)
      .slice(0, 2)
      .map(({ isRegistered }) => isRegistered),
  close: async () => {
    await applications.plain.close()
    await Effect.runPromise(Scope.close(scope, Exit.void))
    for (const server of Object.values(servers)) {
      await server.close()
      await server.close()
    }
    return "closed"
  }
}

process.on("unhandledRejection", (error) => console.log(JSON.stringify({ unhandled: String(error) })))
const urls = Object.fromEntries(Object.entries(servers).map(([name, { url }]) => [name, url]))
console.log(JSON.stringify({ urls, platform: applications.platform, plain: applications.plain.port }))

const input = createInterface({ input: process.stdin })
for await (const name of input) {
  try {
    console.log(JSON.stringify({ result: await commands[name]() }))
  } catch (error) {
    console.log(JSON.stringify({ error: error instanceof Error ? error.stack : String(error) }))
  }
  if (name === "close") break
}
input.close()
process.stdin.destroy()
