import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { afterEach, assert, describe, it } from "@effect/vitest"
import { ask } from "./support/httpClient.js"
import { countsIn, endedIn, inProgressIn, sumsIn } from "./support/httpSamples.js"
import { patience } from "./support/timing.js"

const root = fileURLToPath(new URL("..", import.meta.url))
const running = new Set<ChildProcess>()

// Also when a test has failed or run out of time.
afterEach(() => {
  for (const child of running) child.kill("SIGKILL")
})

/** Waits for what `probe` finds. It looks again and again, but not for ever. */
const until = async <A>(what: string, probe: () => A | undefined | Promise<A | undefined>): Promise<A> => {
  const deadline = performance.now() + patience
  while (performance.now() < deadline) {
    const found = await probe()
    if (found !== undefined) return found
    await sleep(20)
  }
  throw new Error(`waited in vain for ${what}`)
}

/** An example that runs in a process of its own, with all that it has printed so far. */
class Example {
  stdout = ""
  stderr = ""
  private readonly child: ChildProcess
  private code: number | undefined

  constructor(file: string, args: ReadonlyArray<string> = [], env: Record<string, string> = {}) {
    this.child = spawn(process.execPath, ["--import", "tsx", `examples/${file}`, ...args], {
      cwd: root,
      env: { ...process.env, PORT: "0", METRICS_PORT: "0", ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    running.add(this.child)
    this.child.stdout?.on("data", (chunk) => (this.stdout += chunk))
    this.child.stderr?.on("data", (chunk) => (this.stderr += chunk))
    this.child.on("close", (code, signal) => {
      running.delete(this.child)
      this.code = code ?? -1
      if (signal !== null) this.stderr += `\nended by ${signal}`
    })
  }

  get output(): string {
    return `${this.stdout}\n${this.stderr}`
  }

  /** What the pattern captures, once a whole line that it matches has been printed. */
  printed(pattern: RegExp): Promise<string> {
    return until(`${pattern} in the output`, () => {
      const found = pattern.exec(this.stdout.slice(0, this.stdout.lastIndexOf("\n") + 1))?.[1]
      if (found === undefined && this.code !== undefined) {
        throw new Error(`ended with ${this.code} before it printed ${pattern}:${this.output}`)
      }
      return found
    })
  }

  exitCode(): Promise<number> {
    return until(`the end of the example, which printed:${this.output}`, () => this.code)
  }

  stop(signal: "SIGTERM" | "SIGINT" = "SIGTERM"): Promise<number> {
    this.child.kill(signal)
    return this.exitCode()
  }
}

const get = async (
  url: string,
  headers: Readonly<Record<string, string>> = {}
): Promise<{ readonly status: number; readonly body: string }> => {
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(patience) })
  return { status: response.status, body: await response.text() }
}

/** The value of a series, the sum of those that begin so, or `undefined` without one. */
const sampleOf = (exposition: string, series: string): number | undefined => {
  const values = exposition
    .split("\n")
    .filter((line) => line.startsWith(series))
    .map((line) => Number(line.slice(line.lastIndexOf(" "))))
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0)
}

const scraped = async (url: string, series: string): Promise<number | undefined> =>
  sampleOf((await get(url)).body, series)

const listening = /Listening on (http:\/\/[\d.:]+)/
const metricsAt = /metrics at (http:\/\/[\d.:]+\/metrics)/

describe("examples", () => {
  it("timed-request-handler.ts observes each request, for as long as it took", async () => {
    const example = new Example("timed-request-handler.ts")
    const url = await example.printed(listening)
    const answers = await Promise.all([get(url), get(url)])
    assert.deepStrictEqual(answers, [
      { status: 200, body: "hello\n" },
      { status: 200, body: "hello\n" }
    ])
    const { body } = await get(`${url}/metrics`)
    assert.strictEqual(sampleOf(body, "req_time_seconds_count"), 2)
    assert.isAtLeast(sampleOf(body, "req_time_seconds_sum") ?? 0, 1.99)
    assert.strictEqual(await example.stop(), 0)
  })

  it("server-in-the-application.ts serves on a port of its own what the application counted", async () => {
    const example = new Example("server-in-the-application.ts")
    const [application, metrics] = await Promise.all([example.printed(listening), example.printed(metricsAt)])
    assert.notStrictEqual(new URL(application).port, new URL(metrics).port)
    assert.strictEqual(await scraped(metrics, "orders_refused_total"), 0)
    assert.deepStrictEqual(await get(`${application}/tea`), { status: 503, body: "no tea today\n" })
    assert.strictEqual(await scraped(metrics, "orders_refused_total"), 1)
    assert.strictEqual((await get(`${application}/metrics`)).status, 404)
    assert.strictEqual(await example.stop(), 0)
  })

  it("server-in-a-thread.ts answers while the application is blocked, and exposes the age of its numbers", async () => {
    const example = new Example("server-in-a-thread.ts")
    const report = await example.printed(/(http:\/\/[\d.:]+\/report)/)
    const metrics = await example.printed(/(http:\/\/[\d.:]+\/metrics)/)
    let blocked = true
    const answer = get(`${report}?seconds=6`).finally(() => (blocked = false))
    const age = await until("a scrape that was answered with older numbers", async () => {
      const found = await scraped(metrics, "effect_prometheus_exposition_age_seconds")
      assert.isTrue(blocked, "the scrapes were to be answered before the application was")
      return found === 0 ? undefined : found
    })
    assert.isAbove(age, 0)
    assert.deepStrictEqual(await answer, { status: 200, body: "computed for 6 seconds\n" })
    const { body } = await get(metrics)
    assert.strictEqual(sampleOf(body, "effect_prometheus_exposition_age_seconds"), 0)
    assert.strictEqual(sampleOf(body, "report_seconds_count"), 1)
    assert.isAtLeast(sampleOf(body, "report_seconds_sum") ?? 0, 6)
    assert.strictEqual(await example.stop(), 0)
  })

  it("mounted-in-an-application.ts keeps scrapes out of the traces and the access log", async () => {
    const example = new Example("mounted-in-an-application.ts")
    const url = await example.printed(listening)
    await get(`${url}/hello`)
    assert.strictEqual(await scraped(`${url}/metrics`, "visitors_in_progress"), 0)
    assert.strictEqual(await scraped(`${url}/metrics?name[]=visitors_in_progress`, "visitors_in_progress"), 0)
    await get(`${url}/hello`)
    const lines = await until("the access log of two requests", () => {
      const lines = example.stdout.split("\n").filter((line) => /^span|http\.url/.test(line))
      return lines.filter((line) => line.includes("/hello")).length === 2 ? lines : undefined
    })
    assert.lengthOf(
      lines.filter((line) => line === "span: http.server GET"),
      2
    )
    assert.lengthOf(lines, 4)
    assert.strictEqual(await example.stop(), 0)
  })

  it("delayed-resource.ts observes the time until the answer, not until its handler returned", async () => {
    const example = new Example("delayed-resource.ts")
    const application = await example.printed(/application: (\S+)/)
    const metrics = await example.printed(/metrics: (\S+)/)
    assert.include((await get(application)).body, "Sorry to keep you waiting.")
    const { body } = await get(metrics)
    assert.strictEqual(sampleOf(body, "req_time_seconds_count"), 1)
    // Timers are kept in whole milliseconds, so one may be early by one or two.
    assert.isAtLeast(sampleOf(body, "req_time_seconds_sum") ?? 0, 0.99)
    assert.strictEqual(await example.stop(), 0)
  })

  for (const { form, args } of [
    { form: "as a layer", args: [] },
    { form: "for promises", args: ["--promises"] }
  ]) {
    it(`custom-service-discovery.ts keeps a file of targets while it serves, ${form}`, async () => {
      const folder = await mkdtemp(join(tmpdir(), "effect-prometheus-"))
      const file = join(folder, "targets.json")
      try {
        const example = new Example("custom-service-discovery.ts", args, { TARGETS_FILE: file })
        const metrics = await example.printed(metricsAt)
        assert.include(example.stdout, `registered by the file ${file}`)
        assert.deepStrictEqual(JSON.parse(await readFile(file, "utf8")), [
          { targets: [new URL(metrics).host], labels: { job: "checkout" } }
        ])
        assert.strictEqual((await get(metrics)).status, 200)
        assert.strictEqual(await example.stop(), 0)
        assert.isFalse(existsSync(file))
      } finally {
        await rm(folder, { recursive: true })
      }
    })
  }
})

describe("beside a framework", () => {
  const post = async (url: string, body: string): Promise<number> => {
    const headers = { "content-type": "text/plain" }
    const response = await fetch(url, { method: "POST", headers, body, signal: AbortSignal.timeout(patience) })
    assert.strictEqual(await response.text(), body)
    return response.status
  }

  const statusOf = (method: string, url: string): Promise<number> => ask(url, { method }).then(({ status }) => status)

  /** Asks for what takes long, and goes away once it is in progress. */
  const goingAway = async (url: string, metrics: string): Promise<void> => {
    const going = new AbortController()
    const gone = fetch(url, { signal: going.signal }).catch(() => "gone")
    await until("a request in progress", async () =>
      (await scraped(metrics, `http_server_requests_in_progress{method="GET"}`)) === 1 ? true : undefined
    )
    going.abort()
    assert.strictEqual(await gone, "gone")
  }

  /** What each mounts in its own way: paths that are asked for, by the pattern of their route. */
  const mounted: Readonly<Record<string, Readonly<Record<string, ReadonlyArray<string>>>>> = {
    "express.ts": {
      "/api/v1/users/:user/posts/:post": ["1/posts/2", "a/posts/a", "users/posts/users"].map(
        (rest) => `/api/v1/users/${rest}`
      ),
      "/graphql": ["/graphql", "/GraphQL/7"]
    },
    "fastify.ts": {},
    "koa.cjs": { "/v1/posts/:post": ["/v1/posts/1", "/v1/posts/v1"], "/v2/posts/:post": ["/v2/posts/1"] },
    "hono.ts": { "/api/v1/posts/:post": ["/api/v1/posts/1", "/api/v1/posts/v1"] },
    "node-http.js": {}
  }

  for (const [file, more] of Object.entries(mounted)) {
    it(`${file} counts, times and sizes by the pattern of the route, however the request ends`, async () => {
      const example = new Example(file)
      const user = await example.printed(/application: (\S+)/)
      const metrics = await example.printed(/metrics: (\S+)/)
      const { origin } = new URL(user)
      assert.deepStrictEqual(await get(`${user}?page=2`), { status: 200, body: "user 7\n" })
      assert.deepStrictEqual(await get(`${origin}/users/8`), { status: 200, body: "user 8\n" })
      assert.strictEqual(await statusOf("HEAD", user), 200)
      assert.strictEqual(await post(`${origin}/users`, "0123456789"), 201)
      assert.deepStrictEqual(await get(`${origin}/shop/orders/9`), { status: 200, body: "order 9\n" })
      assert.strictEqual((await get(`${origin}/shop/orders/none`)).status, 500)
      assert.strictEqual((await get(`${origin}/fail`)).status, 500)
      assert.deepStrictEqual(await get(`${origin}/stream`), { status: 200, body: "one\ntwo\nthree\n" })
      assert.strictEqual(await statusOf("PURGE", user), 404)
      for (const path of ["/users/me", ...Object.values(more).flat()]) {
        assert.strictEqual((await get(origin + path)).status, 200)
      }
      const paths = Array.from({ length: 200 }, () => `/${Math.random().toString(36).slice(2)}/${Math.random()}`)
      for (const path of ["/shop/none", ...paths]) assert.strictEqual((await get(origin + path)).status, 404)
      await goingAway(`${origin}/slow`, metrics)
      const body = await until("the end of all requests", async () => {
        const { body } = await get(metrics)
        const many = 212 + Object.values(more).flat().length
        return sampleOf(body, "http_server_requests_total") === many ? body : undefined
      })
      assert.deepStrictEqual(endedIn(body), {
        "GET /fail 500": 1,
        "GET /shop/orders/:order 200": 1,
        "GET /shop/orders/:order 500": 1,
        "GET /slow 499": 1,
        "GET /stream 200": 1,
        "GET /users/:id 200": 2,
        "GET /users/me 200": 1,
        ...Object.fromEntries(Object.entries(more).map(([route, { length }]) => [`GET ${route} 200`, length])),
        "GET unmatched 404": 201,
        "HEAD /users/:id 200": 1,
        "POST /users 201": 1,
        "other unmatched 404": 1
      })
      // Scrapes are not in it: this is one.
      assert.deepStrictEqual(inProgressIn(body), { GET: 0, HEAD: 0, POST: 0, other: 0 })
      assert.deepStrictEqual(countsIn(body, "http_server_request_duration_seconds"), endedIn(body))
      const times = sumsIn(body, "http_server_request_duration_seconds")
      assert.isAtLeast(times["GET /stream 200"] ?? 0, 0.09)
      assert.strictEqual(await example.stop(), 0)
    })

    it(`${file} has one route for a path, however it is spelt: clients cannot create series`, async () => {
      const example = new Example(file)
      const { origin } = new URL(await example.printed(/application: (\S+)/))
      const paths = ["/shop/orders/9", "/SHOP/orders/9", "/sHop/ORDERS/9", "/%73hop/orders/9", "//shop//orders/9/"]
      for (const path of paths) await get(origin + path)
      const body = await until("the end of all requests", async () => {
        const { body } = await get(await example.printed(/metrics: (\S+)/))
        return sampleOf(body, "http_server_requests_total") === paths.length ? body : undefined
      })
      const routes = Object.keys(endedIn(body)).map((key) => key.split(" ")[1])
      assert.sameMembers([...new Set(routes)], ["/shop/orders/:order", "unmatched"])
      assert.strictEqual(await example.stop(), 0)
    })
  }
})

describe("the demo", () => {
  const application = /application {2}(http:\/\/127\.0\.0\.1:\d+)/
  const metrics = /metrics {6}(http:\/\/127\.0\.0\.1:\d+\/metrics)/
  const inOrder =
    /shutting down\n +the visitors have gone.*\n +the application is closed\n +the metrics server is closed/

  it("names what to open, serves numbers that move, and ends by itself after the time that it was given", async () => {
    const demo = new Example("demo.ts", ["--for", "10 seconds"])
    const url = await demo.printed(metrics)
    const first = (await scraped(url, "http_server_requests_total")) ?? 0
    await until("more requests in the numbers", async () => {
      const next = (await scraped(url, "http_server_requests_total")) ?? 0
      return next > first ? next : undefined
    })
    for (const [brought, sample] of [
      ["DefaultMetrics", "process_cpu_seconds_total "],
      ["EffectMetrics", "effect_fiber_started_total "],
      ["a metric of Effect's own", 'shop_searches_total{key="tea"} '],
      ["HttpMetrics", 'http_server_request_duration_seconds_count{method="GET",route="/search",status="200"} '],
      ["StreamMetrics", "shop_report_lines_total "],
      ["a closed set of labels", 'shop_payment_seconds_count{outcome="declined"} '],
      ["a value that is asked for", "shop_orders_waiting "],
      ["the endpoint itself", 'effect_prometheus_scrapes_total{code="200"} ']
    ] as const) {
      // Visitors do what they like, and some of it later than the first requests.
      await until(brought, async () => (await get(url)).body.includes(`\n${sample}`) || undefined)
    }
    await until("an exemplar", async () => {
      const { body } = await get(url, { accept: "application/openmetrics-text" })
      return /\nhttp_server_request_duration_seconds_bucket\{.* # \{trace_id="[0-9a-f]{32}"/.test(body) || undefined
    })
    const page = await get(new URL("/", url).href, { accept: "text/html" })
    assert.include(page.body, "<script")
    assert.strictEqual((await get(await demo.printed(application))).status, 200)
    assert.strictEqual(await demo.exitCode(), 0)
    assert.match(demo.stdout, inOrder)
  })

  it("avoids preferred ports that are in use, and names them", async () => {
    const taken = [3000, 9464].map((port) => createServer().listen(port, "127.0.0.1"))
    // Where one is in use already, that is just as well.
    await Promise.all(taken.map((server) => once(server, "listening").catch(() => undefined)))
    try {
      const demo = new Example("demo.ts")
      for (const [pattern, port] of [
        [application, 3000],
        [metrics, 9464]
      ] as const) {
        const url = new URL(await demo.printed(pattern))
        assert.notStrictEqual(url.port, String(port))
        assert.include(demo.stdout, `port ${port} is in use, using ${url.port}`)
        assert.strictEqual((await get(url.href)).status, 200)
      }
      assert.strictEqual(await demo.stop(), 0)
    } finally {
      for (const server of taken) server.close()
    }
  })

  it("shuts down in order on Ctrl-C, says so, and exits with 0", async () => {
    const demo = new Example("demo.ts")
    const url = await demo.printed(metrics)
    await until("a first request", () => scraped(url, "http_server_requests_total"))
    assert.strictEqual(await demo.stop("SIGINT"), 0)
    assert.match(demo.stdout, inOrder)
  })

  it.each([
    [["--for", "nonsense"], `--for takes a duration such as "10 seconds" or "2 minutes", not "nonsense"`],
    [["--colour"], "Unknown option '--colour'"],
    [["--for"], "Option '--for <value>' argument missing"]
  ])("refuses %j with a clear message", async (args, message) => {
    const demo = new Example("demo.ts", args)
    assert.strictEqual(await demo.exitCode(), 1)
    assert.strictEqual(demo.stderr, `${message}\nusage: npm run demo -- [--for "10 seconds"] [--consul]\n`)
    assert.strictEqual(demo.stdout, "")
  })

  it("names the Consul agent that does not answer, without a stack", async () => {
    const demo = new Example("demo.ts", ["--consul"], { CONSUL_HTTP_ADDR: "127.0.0.1:1", CONSUL_HTTP_SSL: "false" })
    assert.strictEqual(await demo.exitCode(), 1)
    assert.match(demo.stderr, /^the Consul agent at 127\.0\.0\.1:1 cannot be reached: connect ECONNREFUSED.*\n$/)
    assert.strictEqual(demo.stdout, "")
  })
})
