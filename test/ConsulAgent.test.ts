import { writeFile } from "node:fs/promises"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Layer, Logger, Redacted, type Scope } from "effect"
import { Registry as PromRegistry } from "prom-client"
import * as ConsulAgent from "../src/ConsulAgent.js"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import { ServiceDiscoveryError } from "../src/ServiceDiscovery.js"
import { certificate, temporaryFiles } from "./support/certificates.js"
import { type RecordedRequest, startConsulAgentStub } from "./support/consulAgentStub.js"
import { eventually, isFree } from "./support/httpClient.js"
import { freePorts } from "./support/services.js"
import { assertWithin, itInTime } from "./support/timing.js"

// What a real agent does is in integration. Here are agents that fail: each is a server of the test's own on a real
// socket, which notes what reaches it.
const register = "PUT /v1/agent/service/register"
const deregister = "PUT /v1/agent/service/deregister/app-metrics"
const look = "GET /v1/agent/service/app-metrics"
const health = "GET /v1/agent/health/service/id/app-metrics"

/** A registration that goes well, and is taken back. */
const throughout = [look, register, look, health, look, deregister]

const isRegister = ({ path }: RecordedRequest) => path.endsWith("/register")
const isDeregister = ({ path }: RecordedRequest) => path.includes("/service/deregister/")

const serving = (discovery: ReturnType<typeof ConsulAgent.layerEnv>, port = 0) =>
  MetricsServer.layer({ host: "127.0.0.1", port, shutdownTimeout: "1 second" }).pipe(
    Layer.provide(discovery),
    Layer.provide(Registry.layer(new PromRegistry())),
    Layer.build
  )

/** What a server fails with; its port is free again then. */
const refused = (options: ConsulAgent.Options) =>
  Effect.gen(function* () {
    const [port = 0] = yield* freePorts(1)
    const error = yield* Effect.scoped(Effect.flip(serving(ConsulAgent.layer(options), port)))
    assert.instanceOf(error, ServiceDiscoveryError)
    assert.isTrue(yield* Effect.promise(() => isFree(port)))
    return error as ServiceDiscoveryError
  })

/** The same for a server that must be registered. */
const unregistered = (options: ConsulAgent.Options) => refused({ required: true, ...options })

const environment = (variables: Readonly<Record<string, string>>) =>
  Layer.setConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(variables))))

describe("A server whose Consul agent", () => {
  it.live("cannot be reached fails with its address, and the port is free again", () =>
    Effect.gen(function* () {
      const [freePort = 0] = yield* freePorts(1)
      const error = yield* unregistered({ address: `http://127.0.0.1:${freePort}` })
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, `http://127.0.0.1:${freePort}`)
      assert.include(error.message, "ECONNREFUSED")
    })
  )

  it.scopedLive("does not answer a registration fails in time, and what it may have registered is deregistered", () =>
    Effect.gen(function* () {
      const { address, requestLines } = yield* startConsulAgentStub((received) => isRegister(received))
      const error = yield* unregistered({ address, timeout: "200 millis" })
      assert.strictEqual(error.reason, "Timeout")
      assert.include(error.message, address)
      assert.include(error.message, register)
      assert.deepStrictEqual(requestLines(), [look, register, look, deregister])
    })
  )

  it.scopedLive("does not answer at all fails in time, and there is nothing to take back", () =>
    Effect.gen(function* () {
      const { address, requestLines } = yield* startConsulAgentStub(() => true)
      assert.strictEqual((yield* unregistered({ address, timeout: "200 millis" })).reason, "Timeout")
      assert.deepStrictEqual(requestLines(), [look])
    })
  )

  it.scopedLive("hangs up before it answers fails, and what it may have registered is deregistered", () =>
    Effect.gen(function* () {
      const { address, requestLines } = yield* startConsulAgentStub((received, _, request) => {
        if (!isRegister(received)) return false
        request.socket.destroy()
        return true
      })
      assert.strictEqual((yield* unregistered({ address })).reason, "Unreachable")
      assert.deepStrictEqual(requestLines(), [look, register, look, deregister])
    })
  )

  for (const [what, of] of [
    ["a look", () => true],
    ["a registration", isRegister]
  ] as const) {
    it.scopedLive(`answers ${what} with an error of its own fails with status and body`, () =>
      Effect.gen(function* () {
        const { address } = yield* startConsulAgentStub((received, response) => {
          if (!of(received)) return false
          response.writeHead(500).end("No cluster leader\n")
          return true
        })
        const error = yield* unregistered({ address })
        assert.deepInclude(error, { reason: "Refused", status: 500, body: "No cluster leader" })
        assert.include(error.message, `${address} answered 500`)
        assert.include(error.message, "No cluster leader")
      })
    )
  }

  it.scopedLive("answers without an end is read no further than a mebibyte", () =>
    Effect.gen(function* () {
      let sent = 0
      const { address } = yield* startConsulAgentStub((_, response) => {
        const part = Buffer.alloc(65_536, " ")
        const send = (): void => {
          if (response.destroyed || sent > 100_000_000) return
          sent += part.byteLength
          if (response.write(part)) setImmediate(send)
          else response.once("drain", send)
        }
        send()
        return true
      })
      const error = yield* unregistered({ address })
      assert.strictEqual(error.reason, "Unreachable")
      assert.include(error.message, `the answer of the Consul agent at ${address} cannot be read`)
      assert.isBelow(sent, 50_000_000)
    })
  )

  it.scopedLive("answers a look with what is no service fails, with what it answered", () =>
    Effect.gen(function* () {
      const { address } = yield* startConsulAgentStub((_, response) => {
        response.end("<html>Log in</html>")
        return true
      })
      const error = yield* unregistered({ address })
      assert.deepInclude(error, { reason: "Refused", status: 200, body: "<html>Log in</html>" })
      assert.include(error.message, address)
    })
  )

  it.scopedLive("refuses is not asked to forget what it never knew", () =>
    Effect.gen(function* () {
      const { address, requestLines } = yield* startConsulAgentStub((received, response) => {
        if (!isRegister(received)) return false
        response.writeHead(403).end("Permission denied")
        return true
      })
      assert.strictEqual((yield* unregistered({ address })).status, 403)
      assert.deepStrictEqual(requestLines(), [look, register])
    })
  )

  itInTime("does not answer a deregistration still closes, within its timeout", function* () {
    const { address, requestLines } = yield* startConsulAgentStub((received) => isDeregister(received))
    const start = performance.now()
    yield* Effect.scoped(serving(ConsulAgent.layer({ address })))
    assertWithin(performance.now() - start, 4_000)
    assert.deepStrictEqual(requestLines(), throughout)
  })

  itInTime("does not answer the last look-up is still asked to deregister", function* () {
    let isOver = false
    const { address, services } = yield* startConsulAgentStub(({ method }) => isOver && method === "GET")
    const start = performance.now()
    yield* Effect.scoped(
      Effect.tap(serving(ConsulAgent.layer({ address })), () => {
        isOver = true
        return Effect.void
      })
    )
    assertWithin(performance.now() - start, 4_000)
    assert.isEmpty([...services.keys()])
  })

  it.scopedLive("repeats what it was sent brings no token, password or header into the error", () =>
    Effect.gen(function* () {
      const { address } = yield* startConsulAgentStub(({ body }, response, request) => {
        if (body === "") return false
        response.writeHead(400).end(`cannot read ${JSON.stringify(request.headers)} ${body}`)
        return true
      })
      const error = yield* unregistered({
        address,
        token: Effect.succeed(Redacted.make("a-secret-token")),
        auth: Redacted.make("user:a-secret-password"),
        check: { header: { authorization: Redacted.make("Bearer a-secret-header") } }
      })
      assert.deepInclude(error, { reason: "Refused", status: 400 })
      const shown = inspect(error, { depth: Number.POSITIVE_INFINITY })
      assert.include(shown, "<redacted>")
      assert.notInclude(shown, "a-secret")
      assert.notInclude(shown, Buffer.from("user:a-secret-password").toString("base64"))
    })
  )

  it.scopedLive("repeats what it was sent in place of a service brings no token or password into the error", () =>
    Effect.gen(function* () {
      const { address } = yield* startConsulAgentStub((_, response, request) => {
        response.end(`what is ${JSON.stringify(request.headers)}?`)
        return true
      })
      const error = yield* unregistered({
        address,
        token: "a-secret-token",
        auth: Redacted.make("user:a-secret-password")
      })
      assert.deepInclude(error, { reason: "Refused", status: 200 })
      const shown = inspect(error, { depth: Number.POSITIVE_INFINITY })
      assert.include(shown, "<redacted>")
      assert.notInclude(shown, "a-secret")
      assert.notInclude(shown, Buffer.from("user:a-secret-password").toString("base64"))
    })
  )

  for (const [how, inJson] of [
    ["as JavaScript", (value: unknown) => JSON.stringify(value)],
    ["as Go", (value: unknown) => JSON.stringify(value).replace("<", "\\u003c").replace("&", "\\u0026")]
  ] as const) {
    it.scopedLive(`repeats what it was sent in JSON, ${how} writes it, brings no part of a secret into the error`, () =>
      Effect.gen(function* () {
        const { address } = yield* startConsulAgentStub(({ body, token }, response) => {
          if (body === "") return false
          response.writeHead(400).end(inJson({ token, header: JSON.parse(body).Check.Header }))
          return true
        })
        // One of them is the beginning of the other.
        const error = yield* unregistered({
          address,
          token: 'a-secret"with\\all<sorts&of-it',
          check: { header: { authorization: 'a-secret"' } }
        })
        assert.strictEqual(error.body, '{"token":"<redacted>","header":{"authorization":["<redacted>"]}}')
        assert.include(error.message, "<redacted>")
        assert.notInclude(error.message, "a-secret")
      })
    )
  }

  it.live("cannot be reached keeps its token and password out of the error, and out of what is logged of it", () =>
    Effect.gen(function* () {
      const [freePort = 0] = yield* freePorts(1)
      const error = yield* unregistered({
        address: `http://127.0.0.1:${freePort}`,
        token: Redacted.make("a-secret-token"),
        auth: Redacted.make("user:a-secret-password")
      })
      const lines: Array<string> = []
      const logger = Logger.map(Logger.stringLogger, (line) => void lines.push(line))
      yield* Effect.provide(Effect.logError("failed", error), Logger.replace(Logger.defaultLogger, logger))
      const shown = [inspect(error, { depth: Number.POSITIVE_INFINITY }), ...lines].join("\n")
      assert.include(shown, "ECONNREFUSED")
      assert.notInclude(shown, "a-secret")
      assert.notInclude(shown, Buffer.from("user:a-secret-password").toString("base64"))
    })
  )
})

describe("The options of a Consul agent", () => {
  const invalid: ReadonlyArray<readonly [string, ConsulAgent.Options]> = [
    ["address", { address: "ftp://127.0.0.1" }],
    ["address", { address: "http:/x y" }],
    ["address must be", { address: 8_500 as never }],
    ["address must be", { address: Object.create(null) as never }],
    ["timeout must be", { timeout: Object.create(null) as never }],
    ["advertise.port must be", { advertise: { port: Object.create(null) as never } }],
    ["name must", { name: "" }],
    ["name must", { name: 1 as never, serviceId: "a" }],
    ["serviceId must", { serviceId: "" }],
    ["serviceId must", { serviceId: "." }],
    ["serviceId must", { serviceId: ".." }],
    ["serviceId must", { name: ".." }],
    ["serviceId must", { serviceId: "\ud800" }],
    ["timeout", { timeout: 0 }],
    ["unknown option watchIntervall", { watchIntervall: "1 second" } as never],
    ["unknown option check.intervall", { check: { intervall: "1 second" } as never }],
    ["unknown option tls.insecure", { tls: { insecure: true } as never }],
    ["unknown option advertise.host", { advertise: { host: "10.0.0.7" } as never }],
    ["options must be an object", null as never],
    ["check must be an object", { check: null as never }],
    ...[
      "0.0.0.0",
      "0",
      "0x0",
      "::0",
      "0:0:0:0:0:0:0:0",
      "*",
      "http://x",
      "[fd00::1]",
      "a b",
      "fe80::1%eth0",
      "::%eth0"
    ].map((address) => ["advertise.address", { advertise: { address } }] as const),
    ["required must be true or false", { required: "false" as never }],
    ["deregister must be true or false", { deregister: "false" as never }],
    ["verify must be true or false", { verify: "no" as never }],
    ["check.tlsSkipVerify must be true or false", { check: { tlsSkipVerify: "true" as never } }],
    ["tls.verify must be true or false", { tls: { verify: "false" as never } }],
    ["tls.cert and tls.key must be set together", { tls: { cert: "/nowhere/cert.pem", ca: undefined } }],
    ["tls.serverName must be", { tls: { serverName: 5 as never } }],
    ["tls: ca cannot be used", { tls: { ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" } }],
    ...["no url", "ftp://x/", "http://", 5 as never].map(
      (url) => ["check.url must be an absolute http or https URL", { check: { url } }] as const
    ),
    ["advertise.port", { advertise: { port: 65_536 } }],
    ["auth must be a string", { auth: 1 as never }],
    ["tags must be an array of strings", { tags: "v2" as never }],
    ["tags must be an array of strings", { tags: [1] as never }],
    ["meta must be an object", { meta: null as never }],
    ["check.header must be an object", { check: { header: null as never } }],
    ["check.header: a must be a string", { check: { header: { a: 1 as never } } }],
    ["check.interval must be longer than 0", { check: { interval: 0 } }],
    ["check.interval must be longer than 0, and at most", { check: { interval: Number.POSITIVE_INFINITY } }],
    ["check.timeout must be longer than 0", { check: { timeout: 0 } }],
    ["check.ttl must be at least one second, and at most", { check: { ttl: Number.POSITIVE_INFINITY } }],
    ["or false for never", { check: { deregisterCriticalServiceAfter: Number.POSITIVE_INFINITY } }],
    ["timeout", { timeout: "5 sec" as never }],
    ["check.interval", { check: { interval: "soon" as never } }],
    ["check.timeout", { check: { timeout: "soon" as never } }],
    ["check.header", { check: { header: { "no name": "x" } } }],
    ["check.header", { check: { header: { authorization: "a\nb" } } }],
    ["check.ttl", { check: { ttl: "soon" as never } }],
    ["one second", { check: { ttl: "500 millis" } }],
    ["check.ttl and check.interval", { check: { ttl: "10 seconds", interval: "1 second" as never } }],
    ["check.deregisterCriticalServiceAfter", { check: { deregisterCriticalServiceAfter: "later" as never } }],
    ["one minute", { check: { deregisterCriticalServiceAfter: "59 seconds" } }],
    ["one minute", { check: { ttl: "10 seconds", deregisterCriticalServiceAfter: 0 } }],
    ["watchInterval", { watchInterval: "often" as never }],
    ["watchInterval", { watchInterval: 0 }],
    ['"a,b"', { tags: ["fine", "a,b"] }],
    ['"a b"', { meta: { "a b": "" } }],
    ["longer than 128", { meta: { [`k${"x".repeat(128)}`]: "" } }],
    ["value of k is longer than 512", { meta: { k: "ü".repeat(257) } }],
    ["which Consul reserves", { meta: { "consul-k": "" } }],
    ["65 pairs", { meta: Object.fromEntries(Array.from({ length: 63 }, (_, index) => [`k${index}`, ""])) }],
    ["x-consul-token", { token: "a\nb" }],
    ["CA of the Consul agent", { tls: { ca: "/nowhere/ca.pem" } }]
  ]
  for (const [name, options] of invalid) {
    it.live(`that are wrong in ${name} are refused by name (${inspect(options, { depth: 3 }).slice(0, 100)})`, () =>
      Effect.gen(function* () {
        const error = yield* refused(options)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.include(error.message, name)
      })
    )
  }

  for (const address of [
    "http://user:hunter2@127.0.0.1:8500",
    "hunter2@127.0.0.1:8500",
    "ftp://user:hunter2@127.0.0.1",
    "http://user:hun/hunter2@127.0.0.1:8500",
    "unix://user:hunter2@127.0.0.1/consul.sock",
    "http://127.0.0.1:8500?token=hunter2"
  ]) {
    const shown = address.replaceAll("hunter2", "…")
    it.live(
      `that hold a password in the address are refused without showing it, and with the solution (${shown})`,
      () =>
        Effect.gen(function* () {
          const error = yield* refused({ address })
          assert.strictEqual(error.reason, "InvalidOptions")
          assert.notInclude(inspect(error, { depth: Number.POSITIVE_INFINITY }), "hunter2")
          assert.include(error.message, "auth")
        })
    )
  }

  it.live("are refused if they are unknown, however they are given", () =>
    Effect.gen(function* () {
      const options: object = { watchIntervall: "1 second" }
      const configured: object = { watchIntervall: Config.succeed("1 second") }
      const empty = environment({})
      const server = {
        address: { hostname: "127.0.0.1", port: 1 },
        https: false,
        url: "http://127.0.0.1:1/metrics",
        healthUrl: "http://127.0.0.1:1/",
        isHealthOpen: true,
        needsCertificate: false
      }
      const shown = [
        yield* Effect.scoped(Effect.flip(Layer.build(ConsulAgent.layer(options)))),
        yield* Effect.scoped(Effect.flip(Layer.build(Layer.provide(ConsulAgent.layerEnv(options), empty)))),
        yield* Effect.scoped(Effect.flip(Layer.build(ConsulAgent.layerConfig(configured)))),
        ...(yield* Effect.forEach([Promises.consulAgent(options), Promises.consulAgentFromEnv(options)], (discovery) =>
          Effect.flip(Effect.tryPromise({ try: async () => discovery.register(server), catch: (error) => error }))
        ))
      ]
      assert.lengthOf(shown, 5)
      for (const error of shown) {
        assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "InvalidOptions" })
        assert.include(String(error), "unknown option watchIntervall")
      }
    })
  )

  it.scopedLive("come from configuration with layerConfig", () =>
    Effect.gen(function* () {
      const { address, requests, requestLines } = yield* startConsulAgentStub()
      const layer = ConsulAgent.layerConfig({ address: Config.string("AGENT"), token: Config.redacted("TOKEN") })
      const discovery = Layer.provide(layer, environment({ AGENT: address, TOKEN: "t" }))
      yield* Effect.scoped(serving(discovery))
      assert.deepStrictEqual(requestLines(), throughout)
      assert.isTrue(requests.every(({ token }) => token === "t"))
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

  it.scopedLive("is refused at the start where the file of the token is not there, without what may be a token", () =>
    Effect.gen(function* () {
      const shown = []
      for (const file of ["/nowhere/token", "7c2b6bd4-6f5c-4ac5-9c33-3c6ccd0f2a11"]) {
        const error = yield* Effect.flip(
          Layer.build(Layer.provide(ConsulAgent.layerEnv(), environment({ CONSUL_HTTP_TOKEN_FILE: file })))
        )
        assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "InvalidOptions" })
        shown.push(inspect(error))
      }
      assert.include(shown[0], "the file /nowhere/token of CONSUL_HTTP_TOKEN_FILE cannot be read (ENOENT)")
      assert.include(shown[1], "the file of CONSUL_HTTP_TOKEN_FILE cannot be read (ENOENT)")
      assert.notInclude(shown[1], "7c2b6bd4")
    })
  )

  it.scopedLive("reads the file of the token anew for each call", () =>
    Effect.gen(function* () {
      const { token } = yield* temporaryFiles({ token: "the-first\n" })
      const { address, requests } = yield* startConsulAgentStub()
      const variables = environment({ CONSUL_HTTP_ADDR: address, CONSUL_HTTP_TOKEN_FILE: token })
      const layer = ConsulAgent.layerEnv({ watchInterval: "30 millis" })
      yield* serving(Layer.provide(layer, variables))
      assert.isTrue(requests.every((one) => one.token === "the-first"))
      yield* Effect.promise(() => writeFile(token, "the-second\n"))
      yield* eventually("it is registered with the new one", async () =>
        requests.some((one) => isRegister(one) && one.token === "the-second")
      )
    })
  )

  const throughTls = (variables: Readonly<Record<string, string>>): Effect.Effect<unknown, unknown, Scope.Scope> =>
    Effect.gen(function* () {
      const pair = yield* certificate
      const { ca } = yield* temporaryFiles({ ca: pair.cert })
      const { address, requestLines } = yield* startConsulAgentStub(undefined, pair)
      const all = { CONSUL_HTTP_ADDR: address.replace("https://", ""), CONSUL_HTTP_SSL: "true", ...variables }
      const known = variables["CONSUL_CACERT"] === undefined ? all : { ...all, CONSUL_CACERT: ca }
      yield* Effect.scoped(serving(Layer.provide(ConsulAgent.layerEnv({ required: true }), environment(known))))
      return requestLines()
    })

  it.scopedLive("leads to an agent that speaks HTTPS, by its CA or without verification, and not without either", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* throughTls({ CONSUL_CACERT: "the certificate" }), throughout)
      assert.deepStrictEqual(yield* throughTls({ CONSUL_HTTP_SSL_VERIFY: "false" }), throughout)
      const error = yield* Effect.flip(throughTls({}))
      assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "Unreachable" })
    })
  )

  it.scopedLive("makes an address of the options one of HTTPS with CONSUL_HTTP_SSL, as the token travels there", () =>
    Effect.gen(function* () {
      const { address, requestLines } = yield* startConsulAgentStub()
      for (const given of [address, address.replace("http://", "")]) {
        const layer = ConsulAgent.layerEnv({ address: given, required: true })
        const variables = environment({ CONSUL_HTTP_SSL: "true", CONSUL_HTTP_TOKEN: "the-secret" })
        const error = yield* Effect.scoped(Effect.flip(serving(Layer.provide(layer, variables))))
        assert.include(String(error), address.replace("http://", "https://"))
      }
      assert.deepStrictEqual(requestLines(), [])
    })
  )

  it.scopedLive("takes the options of TLS also from an instance of a class", () =>
    Effect.gen(function* () {
      class Inherited {
        get verify() {
          return true
        }
      }
      const { address } = yield* startConsulAgentStub(undefined, yield* certificate)
      const layer = ConsulAgent.layerEnv({ address, tls: new Inherited(), required: true })
      const variables = environment({ CONSUL_HTTP_SSL_VERIFY: "false" })
      const error = yield* Effect.scoped(Effect.flip(serving(Layer.provide(layer, variables))))
      assert.deepInclude(error, { _tag: "ServiceDiscoveryError", reason: "Unreachable" })
    })
  )

  it.scopedLive("is not asked for the file of a token where one is given", () =>
    Effect.gen(function* () {
      const { address, requests } = yield* startConsulAgentStub()
      const layer = ConsulAgent.layerEnv({ address, token: "given" })
      yield* Effect.scoped(serving(Layer.provide(layer, environment({ CONSUL_HTTP_TOKEN_FILE: "/nowhere/token" }))))
      assert.isNotEmpty(requests)
      assert.isTrue(requests.every(({ token }) => token === "given"))
    })
  )

  it.scopedLive("serves plain promises as well, and what is given goes before it", () =>
    Effect.gen(function* () {
      const { address, requests, requestLines } = yield* startConsulAgentStub()
      const before = process.env["CONSUL_HTTP_TOKEN"]
      process.env["CONSUL_HTTP_TOKEN"] = "from the environment"
      const serviceDiscovery = Promises.consulAgentFromEnv({ address, token: undefined })
      const server = yield* Effect.promise(() =>
        Promises.startHttpServer({ host: "127.0.0.1", registry: new PromRegistry(), log: false, serviceDiscovery })
      )
      yield* Effect.promise(() => server.close())
      if (before === undefined) delete process.env["CONSUL_HTTP_TOKEN"]
      else process.env["CONSUL_HTTP_TOKEN"] = before
      assert.deepStrictEqual(requestLines(), throughout)
      assert.isTrue(requests.every(({ token }) => token === "from the environment"))
    })
  )
})
