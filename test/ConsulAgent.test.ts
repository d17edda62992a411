import { createServer, type RequestListener } from "node:http"
import { createServer as createSecureServer } from "node:https"
import type { AddressInfo } from "node:net"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Logger, Redacted, type Scope } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { ServiceDiscoveryError } from "../src/ServiceDiscovery.js"
import { certificate, files } from "./support/certificate.js"
import { isFree } from "./support/http.js"
import { freePorts } from "./support/services.js"

// What a real agent does is in integration/ConsulAgent.test.ts. Here are agents that fail: each is a server of the test's
// own on a real socket, which notes what reaches it.
const failing = (answer: RequestListener, tls?: { readonly key: string; readonly cert: string }) =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const tokens: Array<unknown> = []
    const listener: RequestListener = (request, response) => {
      seen.push(`${request.method} ${request.url}`)
      tokens.push(request.headers["x-consul-token"])
      answer(request, response)
    }
    const server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener)
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.sync(() => {
          server.closeAllConnections()
          server.close()
        })
    )
    const { port } = server.address() as AddressInfo
    return { address: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`, seen, tokens }
  })

const register = "PUT /v1/agent/service/register"
const deregister = "PUT /v1/agent/service/deregister/app-metrics"

const serving = (discovery: ReturnType<typeof ConsulAgent.layerEnv>, port = 0) =>
  MetricsServer.layer({ host: "127.0.0.1", port, shutdownTimeout: "1 second" }).pipe(
    Layer.provide(discovery),
    Layer.provide(Registry.layer(new PromRegistry())),
    Layer.build
  )

/** What a server that cannot be registered fails with; its port is free again then. */
const refused = (options: ConsulAgent.Options) =>
  Effect.gen(function* () {
    const [port = 0] = yield* freePorts(1)
    const error = yield* Effect.scoped(Effect.flip(serving(ConsulAgent.layer(options), port)))
    assert.instanceOf(error, ServiceDiscoveryError)
    assert.isTrue(yield* Effect.promise(() => isFree(port)))
    return error as ServiceDiscoveryError
  })

const environment = (variables: Readonly<Record<string, string>>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

describe("A server whose Consul agent", () => {
  it.live("cannot be reached fails with its address, and the port is free again", () =>
    Effect.gen(function* () {
      const [nobody = 0] = yield* freePorts(1)
      const error = yield* refused({ address: `http://127.0.0.1:${nobody}` })
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, `http://127.0.0.1:${nobody}`)
      assert.include(error.message, "ECONNREFUSED")
    })
  )

  it.scopedLive("does not answer fails in time, and what it may have heard is taken back", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* failing((request, response) => {
        if (request.url?.includes("/deregister/")) response.end()
      })
      const error = yield* refused({ address, timeout: "200 millis" })
      assert.strictEqual(error.reason, "Timeout")
      assert.include(error.message, address)
      assert.deepStrictEqual(seen, [register, deregister])
    })
  )

  it.scopedLive("hangs up before it answers fails, and what it may have heard is taken back", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* failing((request, response) => {
        if (request.url?.includes("/deregister/")) response.end()
        else request.socket.destroy()
      })
      assert.strictEqual((yield* refused({ address })).reason, "Unreachable")
      assert.deepStrictEqual(seen, [register, deregister])
    })
  )

  it.scopedLive("answers with an error of its own fails with status and body", () =>
    Effect.gen(function* () {
      const { address } = yield* failing((_, response) => response.writeHead(500).end("No cluster leader\n"))
      const error = yield* refused({ address })
      assert.deepInclude(error, { reason: "Refused", status: 500, body: "No cluster leader\n" })
      assert.include(error.message, `${address} answered 500`)
      assert.include(error.message, "No cluster leader")
    })
  )

  it.scopedLive("refuses is not asked to forget what it never knew", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* failing((_, response) => response.writeHead(403).end("Permission denied"))
      assert.strictEqual((yield* refused({ address })).status, 403)
      assert.deepStrictEqual(seen, [register])
    })
  )

  it.scopedLive("does not answer a deregistration closes all the same, within its timeout", () =>
    Effect.gen(function* () {
      const { address, seen } = yield* failing((request, response) => {
        if (request.url?.includes("/register")) response.end()
      })
      const start = performance.now()
      yield* Effect.scoped(serving(ConsulAgent.layer({ address })))
      assert.isBelow(performance.now() - start, 4_000)
      assert.deepStrictEqual(seen, [register, deregister])
    })
  )

  it.live("cannot be reached keeps its token and password out of the error, and out of what is logged of it", () =>
    Effect.gen(function* () {
      const [nobody = 0] = yield* freePorts(1)
      const error = yield* refused({
        address: `http://127.0.0.1:${nobody}`,
        token: Redacted.make("a-secret-token"),
        auth: Redacted.make("user:a-secret-password")
      })
      const lines: Array<string> = []
      const logger = Logger.map(Logger.stringLogger, (line) => void lines.push(line))
      yield* Effect.provide(Effect.logError("failed", error), Logger.replace(Logger.defaultLogger, logger))
      const told = [inspect(error, { depth: Number.POSITIVE_INFINITY }), ...lines].join("\n")
      assert.include(told, "ECONNREFUSED")
      assert.notInclude(told, "a-secret")
      assert.notInclude(told, Buffer.from("user:a-secret-password").toString("base64"))
    })
  )
})

describe("The options of a Consul agent", () => {
  const invalid: ReadonlyArray<readonly [string, ConsulAgent.Options]> = [
    ["address", { address: "ftp://127.0.0.1" }],
    ["address", { address: "http:/x y" }],
    ["timeout", { timeout: "5 sec" as never }],
    ["check.interval", { check: { interval: "soon" as never } }],
    ["x-consul-token", { token: "a\nb" }],
    ["CA of the Consul agent", { tls: { ca: "/nowhere/ca.pem" } }]
  ]
  for (const [name, options] of invalid) {
    it.live(`that are wrong in ${name} are told (${inspect(options, { depth: 3 })})`, () =>
      Effect.gen(function* () {
        const error = yield* refused(options)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.include(error.message, name)
      })
    )
  }

  it.scopedLive("come from configuration with layerConfig", () =>
    Effect.gen(function* () {
      const { address, seen, tokens } = yield* failing((_, response) => response.end())
      const layer = ConsulAgent.layerConfig({ address: Config.string("AGENT"), token: Config.redacted("TOKEN") })
      const discovery = Layer.provide(layer, environment({ AGENT: address, TOKEN: "t" }))
      yield* Effect.scoped(serving(discovery))
      assert.deepStrictEqual(seen, [register, deregister])
      assert.deepStrictEqual(tokens, ["t", "t"])
    })
  )
})

describe("The environment of Consul's own tools", () => {
  const connection = (variables: Readonly<Record<string, string>>) =>
    Effect.provide(ConsulAgent.fromEnv, environment(variables))

  it.effect("gives the defaults where it is empty, or where its variables are", () =>
    Effect.gen(function* () {
      for (const variables of [{}, { CONSUL_HTTP_ADDR: "", CONSUL_HTTP_TOKEN: "", CONSUL_HTTP_SSL: "" }]) {
        const { address, tls, token } = yield* connection(variables)
        assert.deepStrictEqual([address, token, tls?.verify], ["http://127.0.0.1:8500", undefined, true])
      }
    })
  )

  for (const [given, address] of [
    ["consul:8500", "https://consul:8500"],
    ["http://consul:8500", "https://consul:8500"],
    ["https://consul:8501", "https://consul:8501"],
    ["unix:///run/consul.sock", "unix:///run/consul.sock"]
  ] as const) {
    it.effect(`makes ${address} of ${given} with CONSUL_HTTP_SSL`, () =>
      Effect.gen(function* () {
        const made = yield* connection({ CONSUL_HTTP_ADDR: given, CONSUL_HTTP_SSL: "TRUE" })
        assert.strictEqual(made.address, address)
      })
    )
  }

  it.effect("is refused with the name of a variable that is neither true nor false", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(connection({ CONSUL_HTTP_SSL: "maybe" }))
      assert.include(String(error), "CONSUL_HTTP_SSL")
    })
  )

  const throughTls = (variables: Readonly<Record<string, string>>): Effect.Effect<unknown, unknown, Scope.Scope> =>
    Effect.gen(function* () {
      const pair = yield* certificate
      const { ca } = yield* files({ ca: pair.cert })
      const { address, seen } = yield* failing((_, response) => response.end(), pair)
      const all = { CONSUL_HTTP_ADDR: address.replace("https://", ""), CONSUL_HTTP_SSL: "true", ...variables }
      const known = variables["CONSUL_CACERT"] === undefined ? all : { ...all, CONSUL_CACERT: ca }
      yield* Effect.scoped(serving(Layer.provide(ConsulAgent.layerEnv(), environment(known))))
      return seen
    })

  it.scopedLive("leads to an agent that speaks HTTPS, by its CA or without verification, and not without either", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* throughTls({ CONSUL_CACERT: "the certificate" }), [register, deregister])
      assert.deepStrictEqual(yield* throughTls({ CONSUL_HTTP_SSL_VERIFY: "false" }), [register, deregister])
      const error = yield* Effect.flip(throughTls({}))
      assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "Unreachable" })
    })
  )

  it.scopedLive("serves plain promises as well, and what is given goes before it", () =>
    Effect.gen(function* () {
      const { address, seen, tokens } = yield* failing((_, response) => response.end())
      const before = process.env["CONSUL_HTTP_TOKEN"]
      process.env["CONSUL_HTTP_TOKEN"] = "from the environment"
      const serviceDiscovery = Promises.consulAgentFromEnv({ address, token: undefined })
      const server = yield* Effect.promise(() =>
        Promises.startHttpServer({ host: "127.0.0.1", registry: new PromRegistry(), log: false, serviceDiscovery })
      )
      yield* Effect.promise(() => server.close())
      if (before === undefined) delete process.env["CONSUL_HTTP_TOKEN"]
      else process.env["CONSUL_HTTP_TOKEN"] = before
      assert.deepStrictEqual(seen, [register, deregister])
      assert.deepStrictEqual(tokens, ["from the environment", "from the environment"])
    })
  )
})
