import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer as createHttpServer } from "node:http"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { binary } from "./binaries.js"
import { listen } from "./listen.js"
import { patience } from "./timing.js"

/** A Consul agent of the test's own, in memory, on 127.0.0.1. */
export interface Consul {
  readonly address: string
  readonly get: <A>(path: string, token?: string) => Effect.Effect<A>
  readonly put: <A>(path: string, body: unknown, token?: string) => Effect.Effect<A>
  /** The services that the agent knows now, by id. */
  readonly services: Effect.Effect<Readonly<Record<string, AgentService>>>
  /** Ends it as a power cut would. */
  readonly kill: Effect.Effect<void>
  /** Stops it, so that it takes connections and answers nothing, until it goes on. */
  readonly hang: Effect.Effect<void>
  readonly goOn: Effect.Effect<void>
}

/** A service as `/v1/agent/services` lists it. */
export interface AgentService {
  readonly ID: string
  readonly Service: string
  readonly Tags: ReadonlyArray<string>
  readonly Address: string
  readonly Port: number
  readonly Meta: Readonly<Record<string, string>>
}

/** Where an agent listens: for HTTP, for other servers, and for gossip. */
export type ConsulPorts = readonly [http: number, server: number, serf: number]

export interface ConsulOptions {
  /** ACLs are on then, and deny by default. */
  readonly masterToken?: string
  readonly socket?: string
  /** The port for HTTP alone. */
  readonly port?: number
  /** All ports, for an agent that is started again. */
  readonly ports?: ConsulPorts
  /** Where it keeps its state; without, in memory. */
  readonly dataDir?: string
}

export const consulPorts: Effect.Effect<ConsulPorts> = Effect.suspend(() =>
  Effect.map(freePorts(3), (ports) => ports as unknown as ConsulPorts)
)

/** Starts a Consul agent. */
export const consul = (options: ConsulOptions = {}) =>
  Effect.gen(function* () {
    const [free, server, serf] = options.ports ?? (yield* consulPorts)
    const http = options.port ?? free
    const acl = `acl { enabled = true default_policy = "deny" tokens { master = "${options.masterToken}" } }`
    const sockets = `addresses { http = "127.0.0.1 unix://${options.socket}" }`
    const kind =
      options.dataDir === undefined
        ? ["-dev"]
        : ["-server", "-bootstrap-expect=1", `-data-dir=${options.dataDir}`, "-hcl=performance { raft_multiplier = 1 }"]
    const child = yield* run("consul", [
      "agent",
      ...kind,
      "-bind=127.0.0.1",
      "-client=127.0.0.1",
      "-log-level=err",
      `-http-port=${http}`,
      `-server-port=${server}`,
      `-serf-lan-port=${serf}`,
      "-serf-wan-port=-1",
      "-dns-port=-1",
      "-grpc-port=-1",
      ...(options.masterToken === undefined ? [] : [`-hcl=${acl}`]),
      ...(options.socket === undefined ? [] : [`-hcl=${sockets}`])
    ])
    const address = `http://127.0.0.1:${http}`
    const call = <A>(path: string, token: string | undefined, init?: RequestInit) =>
      Effect.promise(async () => {
        const headers = token === undefined ? {} : { "x-consul-token": token }
        const response = await fetch(`${address}${path}`, { ...init, headers })
        if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`)
        return (await response.json()) as A
      })
    const agent: Consul = {
      address,
      get: (path, token) => call(path, token),
      put: (path, body, token) => call(path, token, { method: "PUT", body: JSON.stringify(body) }),
      services: Effect.suspend(() => agent.get("/v1/agent/services", options.masterToken)),
      kill: killed(child),
      hang: Effect.sync(() => void child.kill("SIGSTOP")),
      goOn: Effect.sync(() => void child.kill("SIGCONT"))
    }
    yield* until("the Consul agent has a leader", agent.get<string>("/v1/status/leader"), (leader) =>
      leader.includes(":")
    )
    return agent
  })

/** A request that an agent received through a proxy. */
export interface Forwarded {
  readonly method: string
  readonly path: string
  readonly body: string
  readonly token: string | undefined
}

/** A proxy of an agent that calls `answered` between the agent's answer and its own. */
export const forwarding = (
  to: string,
  answered: (forwarded: Forwarded) => Promise<void>
): Effect.Effect<string, never, Scope.Scope> =>
  listen(
    createHttpServer(async (request, response) => {
      const body = Buffer.concat((await request.toArray()) as Array<Buffer>).toString()
      const { method = "GET", url: path = "/" } = request
      const token = request.headers["x-consul-token"]?.toString()
      try {
        const answer = await fetch(`${to}${path}`, {
          method,
          body: body === "" ? null : body,
          headers: token === undefined ? {} : { "x-consul-token": token }
        })
        const text = await answer.text()
        await answered({ method, path, body, token })
        response.writeHead(answer.status).end(text)
      } catch {
        response.destroy()
      }
    })
  ).pipe(Effect.map((port) => `http://127.0.0.1:${port}`))

/** A server of the test's own that scrapes, on 127.0.0.1. */
export interface Scraper {
  readonly url: string
  /** The value of an instant query, or `undefined` where it has no result. */
  readonly query: (promql: string) => Effect.Effect<number | undefined>
  /** All results of an instant query, as it gives them. */
  readonly series: (promql: string) => Effect.Effect<ReadonlyArray<QueriedSeries>>
  /** What it scrapes, and how that went the last time. */
  readonly targets: Effect.Effect<ReadonlyArray<ScrapeTarget>>
}

/** A Prometheus server. */
export interface Prometheus extends Scraper {
  /** The times, in seconds, of those samples of the last minutes that have this value, for one series. */
  readonly timesOf: (series: string, value: number, minutes: number) => Effect.Effect<ReadonlyArray<number>>
  /** The type of a metric as the last scrape gave it. */
  readonly typeOf: (metric: string) => Effect.Effect<string | undefined>
}

export interface QueriedSeries {
  readonly metric: Readonly<Record<string, string>>
  /** A time, and the value as text. */
  readonly value: readonly [number, string]
}

/** A target as `/api/v1/targets` lists it. */
export interface ScrapeTarget {
  readonly labels: Readonly<Record<string, string>>
  readonly health: "up" | "down" | "unknown"
  readonly lastError: string
  readonly scrapeUrl: string
}

export const temporaryFolder = (prefix: string): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), prefix))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )

const asked = async <Result>(url: string, promql: string) => {
  const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(promql)}`)
  return ((await response.json()) as { readonly data: { readonly result: ReadonlyArray<Result> } }).data.result
}

/** The part of the API that Prometheus and VictoriaMetrics have in common. */
const scraper = (url: string): Scraper => {
  const series = (promql: string) => Effect.promise(() => asked<QueriedSeries>(url, promql))
  const query = (promql: string) => Effect.map(series(promql), ([first]) => first && queriedValue(first))
  const targets = Effect.promise(async () => {
    const response = await fetch(`${url}/api/v1/targets?state=active`)
    const { data } = (await response.json()) as {
      readonly data: { readonly activeTargets: ReadonlyArray<ScrapeTarget> }
    }
    return data.activeTargets
  })
  return { url, query, series, targets }
}

/** Starts Prometheus 2.24 (`prometheus`), 2.42 or 3 with these scrape configurations, or YAML of them and more; it scrapes and evaluates twice a second. */
export const prometheus = (
  which: "prometheus" | "prometheus2" | "prometheus3",
  scrapeConfigs: ReadonlyArray<object> | string,
  flags: ReadonlyArray<string> = []
) =>
  Effect.gen(function* () {
    const folder = yield* temporaryFolder("prometheus-")
    const config = join(folder, "prometheus.yml")
    const scraping =
      typeof scrapeConfigs === "string" ? scrapeConfigs : `scrape_configs: ${JSON.stringify(scrapeConfigs)}`
    const intervals = "global: { scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 500ms }"
    yield* Effect.promise(() => writeFile(config, `${intervals}\n${scraping}\n`))
    return yield* prometheusOf(which, config, flags)
  })

/** Starts it with a configuration file. */
export const prometheusOf = (
  which: "prometheus" | "prometheus2" | "prometheus3",
  config: string,
  flags: ReadonlyArray<string> = []
) =>
  Effect.gen(function* () {
    const [port] = yield* freePorts(1)
    const folder = yield* temporaryFolder("prometheus-data-")
    yield* run(which, [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--log.level=error",
      ...flags
    ])
    const url = `http://127.0.0.1:${port}`
    const timesOf = (series: string, value: number, minutes: number) =>
      Effect.promise(async () => {
        const [first] = await asked<{ readonly values: ReadonlyArray<readonly [number, string]> }>(
          url,
          `${series}[${minutes}m]`
        )
        return (first?.values ?? []).filter(([, one]) => Number(one) === value).map(([time]) => time)
      })
    const typeOf = (metric: string) =>
      Effect.promise(async () => {
        const response = await fetch(`${url}/api/v1/targets/metadata?metric=${metric}`)
        const { data } = (await response.json()) as { readonly data: ReadonlyArray<{ readonly type: string }> }
        return data[0]?.type
      })
    yield* isReady("Prometheus", url)
    return { ...scraper(url), timesOf, typeOf } satisfies Prometheus
  })

/** Starts a VictoriaMetrics of a single node with these scrape configurations; it scrapes every two seconds. */
export const victoriaMetrics = (scrapeConfigs: ReadonlyArray<object>, flags: ReadonlyArray<string> = []) =>
  Effect.gen(function* () {
    const [port] = yield* freePorts(1)
    const folder = yield* temporaryFolder("victoria-metrics-")
    const config = join(folder, "scrape.yml")
    const global = { scrape_interval: "2s", scrape_timeout: "2s" }
    yield* Effect.promise(() => writeFile(config, JSON.stringify({ global, scrape_configs: scrapeConfigs })))
    yield* run("victoriaMetrics", [
      `-promscrape.config=${config}`,
      `-storageDataPath=${join(folder, "data")}`,
      `-httpListenAddr=127.0.0.1:${port}`,
      // By default a query does not see the samples of the last 30 seconds.
      "-search.latencyOffset=1ms",
      "-promscrape.suppressScrapeErrors",
      "-loggerLevel=ERROR",
      ...flags
    ])
    const url = `http://127.0.0.1:${port}`
    // A query sees a sample a few seconds after the scrape, or after this request.
    const flushed = Effect.promise(async () => {
      const { status } = await fetch(`${url}/internal/force_flush`)
      if (status !== 200) throw new Error(`/internal/force_flush: ${status}`)
    })
    yield* isReady("VictoriaMetrics", url)
    const { query, series, targets } = scraper(url)
    return {
      url,
      query: (promql) => Effect.zipRight(flushed, query(promql)),
      series: (promql) => Effect.zipRight(flushed, series(promql)),
      targets
    } satisfies Scraper
  })

const isReady = (name: string, url: string): Effect.Effect<number> =>
  until(
    `${name} is ready`,
    Effect.promise(async () => (await fetch(`${url}/-/ready`)).status),
    (status) => status === 200
  )

/** The value of a series as a number. */
export const queriedValue = ({ value: [, text] }: QueriedSeries): number => Number(text.replace("Inf", "Infinity"))

/** Polls until `holds` or the deadline; the failure has the last value. */
export const until = <A>(
  what: string,
  ask: Effect.Effect<A>,
  holds: (value: A) => boolean,
  seconds = (2 * patience) / 1_000
): Effect.Effect<A> =>
  Effect.suspend(() => {
    const deadline = Date.now() + seconds * 1_000
    let last: unknown
    const attempt: Effect.Effect<A> = Effect.flatMap(Effect.exit(ask), (exit) => {
      if (exit._tag === "Success" && holds(exit.value)) return Effect.succeed(exit.value)
      last = exit._tag === "Success" ? exit.value : exit.cause
      if (Date.now() > deadline) {
        return Effect.dieMessage(`not within ${seconds} s: ${what}; last seen: ${JSON.stringify(last)}`)
      }
      return Effect.zipRight(Effect.sleep("50 millis"), attempt)
    })
    return attempt
  })

/** Ports that were free a moment ago, for programs that do not pick one themselves. */
export const freePorts = (count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.promise(async () => {
    const servers = await Promise.all(
      Array.from(
        { length: count },
        () =>
          new Promise<ReturnType<typeof createServer>>((resolve) => {
            const server = createServer().listen(0, "127.0.0.1", () => resolve(server))
          })
      )
    )
    const ports = servers.map((server) => (server.address() as { readonly port: number }).port)
    await Promise.all(servers.map((server) => new Promise((closed) => server.close(closed))))
    return ports
  })

const killed = (child: ChildProcess): Effect.Effect<void> =>
  Effect.async((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** A process of the test's own: ended with the scope, and waited for. */
const run = (
  name: "consul" | "prometheus" | "prometheus2" | "prometheus3" | "victoriaMetrics",
  args: ReadonlyArray<string>
): Effect.Effect<ChildProcess, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(binary(name) ?? name, args, { stdio: ["ignore", "ignore", "inherit"] })
      child.on("error", (error) => process.stderr.write(`${name}: ${error.message}\n`))
      return child
    }),
    (child) =>
      Effect.async<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        const kill = setTimeout(() => child.kill("SIGKILL"), 5_000)
        child.once("exit", () => {
          clearTimeout(kill)
          resume(Effect.void)
        })
        child.kill("SIGCONT")
        child.kill("SIGTERM")
      })
  )
