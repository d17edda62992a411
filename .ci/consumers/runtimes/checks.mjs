// Checks the installed package on one runtime: `node checks.mjs <command that runs a program>`. The application of
// application.mjs runs on that runtime; the requests come from this process, which is Node.js.

import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { Agent, get as getPlain } from "node:http"
import { get as getSecure } from "node:https"
import { connect } from "node:net"
import { createInterface } from "node:readline"
import { gunzipSync } from "node:zlib"
import { WebSocket } from "ws"

const [name, file, ...args] = process.argv.slice(2)
const client = process.env.CLIENT ?? "prom-client"
const patience = 20_000

// The certificates of certificates.mjs.
const certificates = JSON.parse(await readFile("certificates.json", "utf8"))
const folder = await mkdtemp("keys-")
const certificateFiles = { key: `${folder}/key.pem`, cert: `${folder}/cert.pem` }
const use = async (which) => {
  for (const part of ["key", "cert"]) await copyFile(`${which}.${part}.pem`, certificateFiles[part])
}
await use("server")

const settings = `${folder}/settings.json`
await writeFile(
  settings,
  JSON.stringify({ certificates, certificateFiles, client, consul: process.env.CONSUL_HTTP_ADDR })
)
const child = spawn(file, [...args, "application.mjs", settings], {
  stdio: ["pipe", "pipe", "inherit"],
  timeout: 120_000,
  killSignal: "SIGKILL"
})
const ended = new Promise((resolve) => child.once("exit", (code, signal) => resolve(signal ?? code)))
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()

const inTime = (promise, what) => {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${patience} ms`)), patience)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const line = async () => {
  for (;;) {
    const { done, value } = await inTime(lines.next(), "the application's answer")
    if (done) throw new Error("the application has ended")
    // Other lines are its log.
    if (value.startsWith("{")) return JSON.parse(value)
  }
}

const command = async (name) => {
  child.stdin.write(`${name}\n`)
  const answer = await line()
  if (!("result" in answer)) throw new Error(JSON.stringify(answer))
  return answer.result
}

const ask = (url, { method = "GET", ...options } = {}) =>
  inTime(
    new Promise((resolve, reject) => {
      const get = url.startsWith("https") ? getSecure : getPlain
      get(url, { agent: false, method, ca: certificates.authority, ...options }, (response) => {
        const parts = []
        response
          .on("data", (part) => parts.push(part))
          .on("error", reject)
          .on("end", () => {
            const bytes = Buffer.concat(parts)
            const isZipped = response.headers["content-encoding"] === "gzip"
            const body = String(isZipped ? gunzipSync(bytes) : bytes)
            resolve({ status: response.statusCode, headers: response.headers, body })
          })
      }).on("error", reject)
    }),
    url
  )

const eventually = async (what, condition) => {
  const until = Date.now() + patience
  let last
  while (Date.now() < until) {
    try {
      if (await condition()) return
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`${what} did not happen within ${patience} ms`, { cause: last })
}

const sampleOf = (body, series) => {
  const line = body.split("\n").find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

const { plain, platform, urls } = await line()
const scraped = async () => (await ask(urls.plainHttp)).body
const both =
  (check, kind = "plainHttp") =>
  async () => {
    for (const url of [urls[kind], urls[`${kind}InThread`]]) await check(url)
  }
const basic = (password) => ({ authorization: `Basic ${btoa(`prometheus:${password}`)}` })

/** A request that its client abandons once the server has it. */
const abandoned = async (url, isThere) => {
  const socket = connect({ port: new URL(url).port, host: "127.0.0.1" })
  socket.on("error", () => {})
  socket.write(`GET ${new URL(url).pathname} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await eventually("the request is in progress", isThere)
  socket.destroy()
}

const checks = {
  "effects are timed, their failures counted, and nothing stays in progress": async () => {
    const body = await scraped()
    assert.equal(sampleOf(body, 'job_seconds_count{kind="effect"}'), 3)
    assert.equal(sampleOf(body, 'job_failures_total{kind="effect"}'), 1)
    assert.equal(sampleOf(body, 'jobs_in_progress{kind="effect"}'), 0)
  },
  "an interrupted effect is timed, and is no exception": async () => {
    const body = await scraped()
    assert.equal(sampleOf(body, 'job_seconds_count{kind="interrupted"}'), 1)
    assert.ok(!(sampleOf(body, 'job_failures_total{kind="interrupted"}') > 0))
    assert.equal(sampleOf(body, 'jobs_in_progress{kind="interrupted"}'), 0)
  },
  "promises and synchronous functions are measured": async () => {
    const body = await scraped()
    for (const kind of ["promise", "separate"]) {
      assert.equal(sampleOf(body, `job_seconds_count{kind="${kind}"}`), 3)
      assert.equal(sampleOf(body, `job_failures_total{kind="${kind}"}`), 1)
      assert.equal(sampleOf(body, `jobs_in_progress{kind="${kind}"}`), 0)
    }
  },
  "streams are timed": async () => assert.equal(sampleOf(await scraped(), 'job_seconds_count{kind="stream"}'), 3),
  "the metrics of Effect are in the same exposition": async () =>
    assert.equal(sampleOf(await scraped(), "effect_jobs"), 3),
  "the metrics of the process have values": async () => {
    const body = await scraped()
    for (const name of [
      "process_resident_memory_bytes",
      "process_start_time_seconds",
      "nodejs_eventloop_lag_seconds"
    ]) {
      assert.ok(sampleOf(body, name) > 0, name)
    }
    assert.ok(sampleOf(body, "process_cpu_seconds_total") >= 0)
  },
  "both formats have their content types": both(async (url) => {
    const text = await ask(url)
    assert.equal(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
    const open = await ask(url, { headers: { accept: "application/openmetrics-text; version=1.0.0" } })
    assert.equal(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert.ok(open.body.endsWith("# EOF\n"))
  }),
  "gzip, a selection of metrics, HEAD, and other methods and paths": both(async (url) => {
    const zipped = await ask(url, { headers: { "accept-encoding": "gzip" } })
    assert.equal(zipped.headers["content-encoding"], "gzip")
    const some = await ask(`${url}?name[]=job_failures_total`)
    assert.match(
      some.body,
      /^# HELP job_failures_total .*\n# TYPE job_failures_total counter\n(job_failures_total\{.*\n)+/
    )
    assert.ok(!some.body.includes("job_seconds"))
    const head = await ask(url, { method: "HEAD" })
    assert.deepEqual([head.status, head.body], [200, ""])
    const post = await ask(url, { method: "POST" })
    assert.deepEqual([post.status, post.headers.allow], [405, "GET, HEAD"])
    assert.equal((await ask(new URL("/nowhere", url).href)).status, 404)
  }),
  "one connection serves many scrapes": both(async (url) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let scrape = 0; scrape < 50; scrape += 1) assert.equal((await ask(url, { agent })).status, 200)
    agent.destroy()
  }),
  "the page for people and the one for health checks": both(async (url) => {
    const page = await ask(new URL("/", url).href, { headers: { accept: "text/html" } })
    assert.match(page.body, /<script/)
    const small = await ask(new URL("/", url).href)
    assert.ok(small.body.length < 1_000)
  }),
  "HTTPS, with a password, with a token, and with neither": both(async (url) => {
    for (let round = 0; round < 2; round += 1) {
      assert.equal((await ask(url, { headers: basic("correct horse") })).status, 200)
      assert.equal((await ask(url, { headers: { authorization: "Bearer 0123456789abcdef0123" } })).status, 200)
      assert.equal((await ask(url, { headers: basic("wrong horse") })).status, 401)
      assert.equal((await ask(url, { headers: { authorization: "Bearer wrong" } })).status, 401)
      assert.equal((await ask(url)).status, 401)
    }
  }, "secure"),
  "a certificate that is renewed on disk is served without a restart": both(async (url) => {
    const issuer = async () => {
      const seen = []
      const checkServerIdentity = (_, { serialNumber }) => void seen.push(serialNumber)
      await ask(url, { headers: { authorization: "Bearer 0123456789abcdef0123" }, checkServerIdentity })
      return seen[0]
    }
    await use("server")
    await eventually("the first certificate", async () => (await issuer()) === certificates.serials.server)
    await use("renewed")
    await eventually("the renewed certificate", async () => (await issuer()) === certificates.serials.renewed)
  }, "secure"),
  "client certificates: one that the authority signed, another one, and none": both(async (url) => {
    assert.equal((await ask(url, certificates.client)).status, 200)
    await assert.rejects(ask(url, certificates.stranger))
    await assert.rejects(ask(url))
  }, "mutual"),
  "requests of @effect/platform by route and status, each once": async () => {
    const origin = `http://127.0.0.1:${platform}`
    for (const path of ["/users/7", "/users/8", "/fail", "/nowhere"]) await ask(origin + path)
    const series = (method, route, status) =>
      `http_server_requests_total{method="${method}",route="${route}",status="${status}"}`
    await eventually("they are counted", async () => {
      const body = await scraped()
      return sampleOf(body, series("GET", "/users/:id", 200)) === 2 && sampleOf(body, series("GET", "/fail", 500)) === 1
    })
    assert.equal(sampleOf(await scraped(), series("GET", "unmatched", 404)), 1)
  },
  "a request of @effect/platform whose client leaves counts as 499": async () => {
    const running = 'http_server_requests_in_progress{method="GET"}'
    await abandoned(`http://127.0.0.1:${platform}/slow`, async () => sampleOf(await scraped(), running) === 1)
    await eventually(
      "it is counted",
      async () => sampleOf(await scraped(), 'http_server_requests_total{method="GET",route="/slow",status="499"}') === 1
    )
    assert.equal(sampleOf(await scraped(), running), 0)
  },
  "a websocket of @effect/platform counts as 101, and works": async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${platform}/socket`)
    const echoed = new Promise((resolve, reject) => {
      socket.onerror = () => reject(new Error("the websocket failed"))
      socket.onopen = () => socket.send("hello")
      socket.onmessage = ({ data }) => resolve(String(data))
    })
    assert.equal(await inTime(echoed, "the echo"), "hello")
    socket.close()
    await eventually(
      "it is counted",
      async () =>
        sampleOf(await scraped(), 'http_server_requests_total{method="GET",route="/socket",status="101"}') === 1
    )
    await eventually(
      "it is over",
      async () => sampleOf(await scraped(), 'http_server_requests_in_progress{method="GET"}') === 0
    )
  },
  "requests of node:http by route and status, each once, and scrapes are left out": async () => {
    const origin = `http://127.0.0.1:${plain}`
    for (const path of ["/a", "/a", "/missing", "/metrics"]) await ask(origin + path)
    await eventually(
      "they are counted",
      async () => sampleOf(await scraped(), 'plain_requests{method="GET",route="unmatched",status="404"}') === 1
    )
    const body = await scraped()
    assert.equal(sampleOf(body, 'plain_requests{method="GET",route="/a",status="200"}'), 2)
    assert.ok(!body.includes('route="/metrics"'))
    assert.ok(sampleOf(body, 'plain_duration_sum{method="GET",route="/a",status="200"}') > 0)
  },
  "a request of node:http whose client leaves counts as 499": async () => {
    const running = 'plain_inProgress{method="GET"}'
    for (const path of ["/slow", "/silent"]) {
      await abandoned(`http://127.0.0.1:${plain}${path}`, async () => sampleOf(await scraped(), running) === 1)
      await eventually(
        "it is counted",
        async () => sampleOf(await scraped(), `plain_requests{method="GET",route="${path}",status="499"}`) === 1
      )
      assert.equal(sampleOf(await scraped(), running), 0)
    }
  },
  "the handlers for other servers": async () => {
    assert.equal(sampleOf(await command("text"), "effect_jobs"), 3)
    const { body, contentType } = await command("render")
    assert.match(contentType, /^application\/openmetrics-text/)
    assert.match(body, /# EOF\n$/)
    assert.equal(sampleOf((await ask(`http://127.0.0.1:${plain}/metrics`)).body, "effect_jobs"), 3)
  },
  "a port in use is an error with its number, in both threads": async () => {
    const expected = { _tag: "MetricsServerError", reason: "AddressInUse", port: Number(new URL(urls.plainHttp).port) }
    assert.deepEqual(await command("portInUse"), [expected, expected])
  },
  "a layer serves until its runtime is disposed": async () =>
    assert.deepEqual(await command("layer"), { status: 200, after: "closed" }),
  "a script with servers that are not to keep it alive ends by itself": async () => {
    const script = spawn(file, [...args, "script.mjs"], { stdio: "inherit", timeout: patience, killSignal: "SIGKILL" })
    assert.equal(await new Promise((resolve) => script.once("exit", (code, signal) => resolve(signal ?? code))), 0)
  },
  "a real Consul agent knows both servers while they are open": async () => {
    const agent = process.env.CONSUL_HTTP_ADDR
    if (agent === undefined) return "left out: no CONSUL_HTTP_ADDR"
    await eventually("they are registered", async () => (await command("registered")).every(Boolean))
    const services = Object.values(JSON.parse((await ask(`${agent}/v1/agent/services`)).body))
    const ports = services.map(({ Port }) => Port)
    for (const url of [urls.plainHttp, urls.plainHttpInThread]) assert.ok(ports.includes(Number(new URL(url).port)))
  },
  "everything closes, its ports are free, and the process ends by itself": async () => {
    assert.equal(await command("close"), "closed")
    assert.equal(await inTime(ended, "the end of the process"), 0)
    for (const url of Object.values(urls)) await assert.rejects(ask(url, { headers: basic("correct horse") }))
    if (process.env.CONSUL_HTTP_ADDR !== undefined) {
      const services = JSON.parse((await ask(`${process.env.CONSUL_HTTP_ADDR}/v1/agent/services`)).body)
      assert.deepEqual(services, {})
    }
  }
}

let failed = 0
for (const [title, check] of Object.entries(checks)) {
  try {
    const note = await check()
    console.log(`${name}: ok: ${title}${note === undefined ? "" : ` (${note})`}`)
  } catch (error) {
    failed += 1
    console.log(`${name}: FAILED: ${title}\n${error.stack}${error.cause === undefined ? "" : `\n${error.cause}`}`)
  }
}
child.kill("SIGKILL")
await rm(folder, { recursive: true })
console.log(`${name}: ${Object.keys(checks).length - failed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
