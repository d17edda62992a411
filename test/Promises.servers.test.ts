import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { gunzipSync } from "node:zlib"
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import { Effect, Runtime } from "effect"
import { Counter, Gauge, Registry as PromRegistry, register } from "prom-client"
import { MetricsServerError } from "../src/MetricsServer.js"
import type { RunningServer, ServerOptions } from "../src/Promises.js"
import * as Promises from "../src/Promises.js"
import { selfSigned } from "./support/certificates.js"
import { ask, isFree } from "./support/httpClient.js"
import { someMetrics, workerUrl } from "./support/servers.js"
import { assertWithin, itInTime } from "./support/timing.js"

const openMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8"
const textType = "text/plain; version=0.0.4; charset=utf-8"

const starts = [
  { name: "startHttpServer" as const, start: Promises.startHttpServer },
  {
    name: "startHttpServerInThread" as const,
    start: (options: ServerOptions) => Promises.startHttpServerInThread({ workerUrl, ...options })
  }
]

const running = new Set<RunningServer>()

afterEach(async () => {
  for (const server of running) await server.close()
  running.clear()
})

/** A log, and its lines. */
const logging = () => {
  const lines: Array<{ readonly level: string; readonly message: string }> = []
  return { lines, log: (level: string, message: string) => void lines.push({ level, message }) }
}

const rejection = async (promise: PromiseLike<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  return assert.fail("it did not reject")
}

for (const { name, start } of starts) {
  const started = async (options: ServerOptions = {}): Promise<RunningServer> => {
    const server = await start({ host: "127.0.0.1", registry: new PromRegistry(), log: false, ...options })
    running.add(server)
    return server
  }

  describe(`the server of ${name}`, () => {
    it("serves the registry that it was given, in both formats, and says where", async () => {
      const server = await started({ registry: someMetrics() })
      assert.strictEqual(server.address.hostname, "127.0.0.1")
      assert.strictEqual(server.https, false)
      assert.strictEqual(server.url, `http://127.0.0.1:${server.address.port}/metrics`)
      assert.strictEqual(server.healthUrl, `http://127.0.0.1:${server.address.port}/`)
      const text = await ask(server.url)
      assert.strictEqual(text.headers["content-type"], textType)
      assert.include(text.body, "jobs_total 3\n")
      const openMetrics = await ask(server.url, { headers: { accept: "application/openmetrics-text" } })
      assert.strictEqual(openMetrics.headers["content-type"], openMetricsType)
      assert.match(openMetrics.body, /# EOF\n$/)
      assert.strictEqual((await ask(server.healthUrl)).status, 200)
    })

    it("serves prom-client's global registry by default", async () => {
      const counter = new Counter({ name: "of_the_global_registry_total", help: "h" })
      try {
        const server = await started({ registry: undefined })
        assert.include((await ask(server.url)).body, "of_the_global_registry_total 0\n")
      } finally {
        register.removeSingleMetric("of_the_global_registry_total")
        counter.reset()
      }
    })

    it("takes the options of the server: path, compression and TLS", async () => {
      const tls = await selfSigned()
      const server = await started({ path: "/internal/metrics", compression: false, tls })
      assert.strictEqual(server.https, true)
      assert.strictEqual(server.url, `https://127.0.0.1:${server.address.port}/internal/metrics`)
      assert.strictEqual((await ask(server.url, { ca: tls.cert })).status, 200)
    })

    it("takes the options of an instance of a class, which has them by inheritance", async () => {
      class Inherited {
        get registry() {
          return someMetrics()
        }
        get workerUrl() {
          return workerUrl
        }
        get authentication() {
          return { tokens: ["0123456789abcdef0123"] }
        }
        get onError() {
          return "fail" as const
        }
      }
      class Settings extends Inherited {
        readonly host = "127.0.0.1"
        readonly log = false
      }
      const serve = name === "startHttpServer" ? Promises.startHttpServer : Promises.startHttpServerInThread
      const server = await serve(new Settings())
      running.add(server)
      assert.strictEqual(server.address.hostname, "127.0.0.1")
      assert.strictEqual((await ask(server.url)).status, 401)
      const known = await ask(server.url, { headers: { authorization: "Bearer 0123456789abcdef0123" } })
      assert.include(known.body, "jobs_total 3\n")
    })

    it("refuses options that are not an object", async () => {
      const serve = name === "startHttpServer" ? Promises.startHttpServer : Promises.startHttpServerInThread
      for (const none of [null, "no", ["no"]]) {
        const error = await rejection(serve(none as never))
        assert.instanceOf(error, MetricsServerError)
        assert.include((error as MetricsServerError).message, "options must be an object with options")
      }
      const serviceDiscovery = Promises.consulAgent(null as never)
      const error = await rejection(started({ serviceDiscovery }))
      assert.include(String(error), "options must be an object with options, not null")
    })

    it("logs one line when it starts, with its URL", async () => {
      const { lines, log } = logging()
      const server = await started({ log })
      await ask(server.url)
      assert.strictEqual(lines.length, 1)
      assert.strictEqual(lines[0]?.level, "info")
      assert.strictEqual(lines[0]?.message, `metrics at ${server.url}`)
      assert.strictEqual(server.isRegistered, false)
    })

    it("keeps what the Consul agent's registration has to say to its own log", async () => {
      const spies = (["info", "warn", "error"] as const).map((level) =>
        vi.spyOn(console, level).mockImplementation(() => {})
      )
      try {
        const { lines, log } = logging()
        const serviceDiscovery = Promises.consulAgent({ address: "http://127.0.0.1:1" })
        const server = await started({ log, serviceDiscovery })
        assert.strictEqual(server.isRegistered, false)
        await server.close()
        assert.isTrue(lines.some(({ level, message }) => level === "warn" && message.includes("http://127.0.0.1:1")))
        for (const spy of spies) assert.strictEqual(spy.mock.calls.length, 0)
      } finally {
        for (const spy of spies) spy.mockRestore()
      }
    })

    for (const [how, fail] of [
      ["throws", (error: Error): void => assert.fail(String(error))],
      ["rejects", (error: Error): Promise<void> => Promise.reject(error)]
    ] as const) {
      it(`serves and closes with a log that ${how}`, async () => {
        let said = 0
        const log = () => {
          said += 1
          return fail(new Error("no log"))
        }
        const server = await started({ log })
        assert.strictEqual((await fetch(server.url)).status, 200)
        await server.close()
        assert.isAtLeast(said, 1)
      })
    }

    it("says it to the console by default, and nothing at all if it is not to log", async () => {
      const info = vi.spyOn(console, "info").mockImplementation(() => {})
      try {
        await started({ log: false })
        assert.strictEqual(info.mock.calls.length, 0)
        const { url } = await started({ log: undefined })
        assert.strictEqual(info.mock.calls.length, 1)
        assert.include(String(info.mock.calls[0]?.[0]), `metrics at ${url}`)
      } finally {
        info.mockRestore()
      }
    })

    it("frees its port when it is closed, and can be closed twice", async () => {
      const server = await started()
      const [first, second] = [server.close(), server.close()]
      await Promise.all([first, second])
      assert.isTrue(await isFree(server.address.port))
      await server.close()
    })

    it("is closed at the end of await using", async () => {
      let port = 0
      {
        await using server = await started()
        port = server.address.port
        assert.isFalse(await isFree(port))
      }
      assert.isTrue(await isFree(port))
    })

    it("cannot be started on a port that is taken: the error is the typed one itself", async () => {
      const { address } = await started()
      const error = await rejection(started({ port: address.port }))
      assert.instanceOf(error, MetricsServerError)
      assert.instanceOf(error, Error)
      assert.isFalse(Runtime.isFiberFailure(error))
      const { message, port, reason } = error as MetricsServerError
      assert.strictEqual(reason, "AddressInUse")
      assert.strictEqual(port, address.port)
      assert.include(message, `127.0.0.1:${address.port}`)
    })

    it("cannot be started with options that are wrong, or a key that cannot be used", async () => {
      const invalid = await rejection(started({ path: "metrics" }))
      assert.strictEqual((invalid as MetricsServerError).reason, "InvalidOptions")
      const tls = await rejection(started({ tls: { key: "/nowhere/key.pem", cert: "/nowhere/cert.pem" } }))
      assert.instanceOf(tls, MetricsServerError)
      assert.strictEqual((tls as MetricsServerError).reason, "Tls")
      assert.include((tls as MetricsServerError).message, "/nowhere/key.pem")
    })

    const wrong: ReadonlyArray<readonly [object, string]> = [
      [{ log: "x" }, 'log must be a function or false, not "x"'],
      [{ log: null }, "log must be a function or false, not null"],
      [{ registry: {} }, "registry must be a registry of prom-client, but it has no getMetricsAsArray()"],
      [{ registry: null }, "registry must be a registry of prom-client, but it has no getMetricsAsArray()"],
      [{ serviceDiscovery: {} }, "serviceDiscovery must have a method register()"],
      [{ serviceDiscovery: null }, "serviceDiscovery must have a method register()"]
    ]
    it("cannot be started with what is no log, no registry, and no service discovery, nor are they valid", async () => {
      for (const [options, message] of wrong) {
        for (const act of [started, Promises.validateServerOptions]) {
          const error = await rejection(act(options))
          assert.instanceOf(error, MetricsServerError, message)
          assert.strictEqual((error as MetricsServerError).reason, "InvalidOptions")
          assert.strictEqual((error as MetricsServerError).message, message)
        }
      }
    })
  })

  describe(`a service discovery of one's own, with ${name},`, () => {
    it("gets the running server, and deregisters it before the port is closed", async () => {
      const seen: Array<unknown> = []
      const { lines, log } = logging()
      const server = await started({
        log,
        serviceDiscovery: {
          name: "the town crier",
          register: async (registeredServer) => {
            seen.push(registeredServer)
            return async () => {
              seen.push((await ask(registeredServer.url)).status)
            }
          }
        }
      })
      const { address, healthUrl, https, isHealthOpen, needsCertificate, url } = server
      assert.isTrue(isHealthOpen)
      assert.isFalse(needsCertificate)
      assert.deepStrictEqual(seen, [{ address, healthUrl, https, isHealthOpen, needsCertificate, url }])
      assert.strictEqual(server.isRegistered, true)
      assert.strictEqual(lines[0]?.message, `metrics at ${url}, registered by the town crier`)
      await Promise.all([server.close(), server.close()])
      assert.deepStrictEqual(seen.slice(1), [200])
      assert.strictEqual(server.isRegistered, false)
      assert.isTrue(await isFree(address.port))
    })

    it("may have nothing to take back", async () => {
      const server = await started({ serviceDiscovery: { register: async () => {} } })
      assert.strictEqual(server.isRegistered, true)
      await server.close()
      assert.isTrue(await isFree(server.address.port))
    })

    it("may say itself whether the server is registered", async () => {
      let registered = false
      const { lines, log } = logging()
      const server = await started({
        log,
        serviceDiscovery: { register: async () => {}, isRegistered: () => registered }
      })
      assert.include(lines[0]?.message, "not yet registered by service discovery")
      assert.strictEqual(server.isRegistered, false)
      registered = true
      assert.strictEqual(server.isRegistered, true)
    })

    it("may fail to say whether the server is registered, which then is not known to be", async () => {
      const isRegistered = (): boolean => {
        throw new Error("no idea")
      }
      const server = await started({ serviceDiscovery: { register: async () => {}, isRegistered } })
      assert.strictEqual(server.isRegistered, false)
      await server.close()
    })

    it("may be made of that of a Consul agent, and then has its own methods", async () => {
      const agent = Promises.consulAgent({ address: "http://127.0.0.1:1" })
      const seen: Array<string> = []
      const register = async ({ url }: { readonly url: string }) => void seen.push(url)
      const isRegistered = () => true
      const spread = await started({ serviceDiscovery: { ...agent, register, isRegistered } })
      const inherited = Object.assign(Object.create(agent), { register, isRegistered })
      const derived = await started({ serviceDiscovery: inherited })
      assert.deepStrictEqual(seen, [spread.url, derived.url])
    })

    it("may be a class, whose methods find their this", async () => {
      class Discovery {
        readonly name = "a class"
        readonly registered = new Set<string>()
        async register({ url }: { readonly url: string }) {
          this.registered.add(url)
          return () => this.registered.delete(url)
        }
        isRegistered({ url }: { readonly url: string }) {
          return this.registered.has(url)
        }
      }
      const discovery = new Discovery()
      const server = await started({ serviceDiscovery: discovery })
      assert.deepStrictEqual([...discovery.registered], [server.url])
      assert.strictEqual(server.isRegistered, true)
      await server.close()
      assert.deepStrictEqual([...discovery.registered], [])
    })

    for (const [how, fail] of [
      ["rejects", (error: Error): Promise<void> => Promise.reject(error)],
      [
        "throws",
        (error: Error): Promise<void> => {
          throw error
        }
      ]
    ] as const) {
      it(`that ${how} makes the start reject with the same error, and the port is free`, async () => {
        const refusal = new Error("no, said the agent")
        let port = 0
        const register = (server: { readonly address: { readonly port: number } }) => {
          port = server.address.port
          return fail(refusal)
        }
        assert.strictEqual(await rejection(started({ serviceDiscovery: { register } })), refusal)
        assert.isTrue(await isFree(port))
      })
    }

    for (const [how, takeBack] of [
      ["rejects", () => Promise.reject(new Error("too late"))],
      [
        "throws",
        () => {
          throw new Error("too late")
        }
      ],
      ["hangs", () => new Promise(() => {})]
    ] as const) {
      const closes = async (): Promise<void> => {
        const { lines, log } = logging()
        const serviceDiscovery = { register: async () => takeBack }
        const server = await started({ log, shutdownTimeout: "250 millis", serviceDiscovery })
        const start = performance.now()
        await server.close()
        assertWithin(performance.now() - start, 250 + 900, "close")
        assert.isTrue(await isFree(server.address.port))
        assert.strictEqual(server.isRegistered, false)
        assert.strictEqual(lines[1]?.level, "warn")
        assert.include(lines[1]?.message, "deregister the server")
        await server.close()
      }
      itInTime(
        `that ${how} when it takes the registration back does not keep close from freeing the port`,
        function* () {
          yield* Effect.promise(closes)
        }
      )
    }
  })
}

describe("startHttpServerInThread", () => {
  it("rejects with the typed error itself, which names the file, if there is no worker to start", async () => {
    const missing = new URL("./fixtures/nowhere-to-be-found.js", import.meta.url)
    const error = await rejection(
      Promises.startHttpServerInThread({ host: "127.0.0.1", log: false, workerUrl: missing })
    )
    assert.instanceOf(error, MetricsServerError)
    assert.strictEqual((error as MetricsServerError).reason, "Worker")
    assert.include((error as MetricsServerError).message, missing.pathname)
  })
})

const big = (): PromRegistry => {
  const registry = someMetrics()
  const rooms = new Gauge({ name: "rooms", help: "h", labelNames: ["room"], registers: [registry] })
  for (let room = 0; room < 200; room++) rooms.set({ room: String(room) }, room)
  return registry
}

describe("nodeListener", () => {
  const mounted = async (options: Parameters<typeof Promises.nodeListener>[0]) => {
    const server = createServer(Promises.nodeListener(options)).listen(0, "127.0.0.1")
    await new Promise((resolve) => server.once("listening", resolve))
    const close = () => new Promise<void>((resolve) => server.close(() => resolve()))
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, [Symbol.asyncDispose]: close }
  }

  it("answers GET and HEAD wherever it is mounted, in both formats, and anything else with 405", async () => {
    await using server = await mounted({ registry: big() })
    for (const path of ["/", "/metrics", "/any/where?name[]=jobs_total"]) {
      const text = await ask(`${server.url}${path}`)
      assert.strictEqual(text.headers["content-type"], textType)
      assert.include(text.body, "jobs_total 3\n")
    }
    const openMetrics = await ask(server.url, { headers: { accept: "application/openmetrics-text" } })
    assert.strictEqual(openMetrics.headers["content-type"], openMetricsType)
    assert.strictEqual((await ask(server.url, { method: "HEAD" })).body, "")
    const refused = await ask(server.url, { method: "POST" })
    assert.strictEqual(refused.status, 405)
    assert.strictEqual(refused.headers.allow, "GET, HEAD")
  })

  it("compresses when it is asked to, unless that is switched off", async () => {
    for (const compression of [true, false]) {
      await using server = await mounted({ registry: big(), compression })
      const { bytes, headers } = await ask(server.url, { headers: { "accept-encoding": "gzip" } })
      assert.strictEqual(headers["content-encoding"], compression ? "gzip" : undefined)
      assert.include(String(compression ? gunzipSync(bytes) : bytes), 'rooms{room="199"} 199\n')
    }
  })
})

describe("webHandler", () => {
  const url = "https://metrics.example/any/where"

  it("answers GET and HEAD on any path, in both formats, and other methods with 405", async () => {
    const handler = Promises.webHandler({ registry: big() })
    const text = await handler(new Request(`${url}?name[]=jobs_total`))
    assert.strictEqual(text.status, 200)
    assert.strictEqual(text.headers.get("content-type"), textType)
    const body = await text.text()
    assert.include(body, "jobs_total 3\n")
    assert.notInclude(body, "rooms")
    const openMetrics = await handler(new Request(url, { headers: { accept: "application/openmetrics-text" } }))
    assert.strictEqual(openMetrics.headers.get("content-type"), openMetricsType)
    const head = await handler(new Request(url, { method: "HEAD" }))
    assert.strictEqual(head.status, 200)
    assert.isNull(head.body)
    const refused = await handler(new Request(url, { method: "DELETE" }))
    assert.strictEqual(refused.status, 405)
    assert.strictEqual(refused.headers.get("allow"), "GET, HEAD")
  })

  it("compresses when it is asked to", async () => {
    const handler = Promises.webHandler({ registry: big() })
    const response = await handler(new Request(url, { headers: { "accept-encoding": "gzip" } }))
    assert.strictEqual(response.headers.get("content-encoding"), "gzip")
    assert.include(String(gunzipSync(await response.arrayBuffer())), 'rooms{room="199"} 199\n')
  })

  it("serves the other metrics when one cannot be read, or with onError: fail names it in a 500", async () => {
    const registry = someMetrics()
    const collect = () => {
      throw new Error("no thermometer")
    }
    new Gauge({ name: "temperature_celsius", help: "h", registers: [registry], collect })
    const response = await Promises.webHandler({ registry, onError: "fail" })(new Request(url))
    assert.strictEqual(response.status, 500)
    assert.include(await response.text(), "temperature_celsius")
    const others = await Promises.webHandler({ registry })(new Request(url))
    assert.strictEqual(others.status, 200)
    assert.include(await others.text(), "jobs_total 3\n")
  })
})
