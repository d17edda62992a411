import { readFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import express from "express"
import promBundle from "express-prom-bundle"
import Fastify from "fastify"
import fastifyMetrics from "fastify-metrics"
import { Registry } from "prom-client"
import { httpMetrics } from "../src/Promises.js"
import { ask, eventually } from "./support/httpClient.js"
import { root } from "./support/snippets.js"

/** Each family of an exposition, with the names of its labels in order. */
const familiesIn = (exposition: string): ReadonlyArray<string> =>
  [...exposition.matchAll(/^# TYPE (\w+) \w+$/gm)].map(([, name = ""]) => {
    const lines = exposition.split("\n").filter((line) => line.startsWith(name))
    const labels = lines.flatMap((line) => [...line.matchAll(/(\w+)="/g)].map(([, label = ""]) => label))
    const own = [...new Set(labels)].filter((label) => label !== "le" && label !== "quantile")
    return `${name}{${own.sort().join(", ")}}`
  })

const boundsIn = (exposition: string): ReadonlyArray<number> => [
  ...new Set([...exposition.matchAll(/_bucket\{.*le="([\d.]+)"/g)].map(([, bound]) => Number(bound)))
]

const ofFastifyMetrics = async (): Promise<string> => {
  const application = Fastify()
  await application.register(fastifyMetrics as never, { endpoint: "/metrics", defaultMetrics: { enabled: false } })
  application.get("/users/:id", async () => "Ada")
  await application.inject("/users/1")
  await application.inject("/missing")
  return (await application.inject("/metrics")).body
}

const ofPromBundle = async (options: object): Promise<string> => {
  const application = express()
  application.use(promBundle({ ...options, promRegistry: new Registry() }))
  application.get("/users/:id", (_, response) => void response.send("Ada"))
  const server = application.listen(0, "127.0.0.1")
  await new Promise((resolve) => server.on("listening", resolve))
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await ask(`${origin}/users/1`)
  await ask(`${origin}/missing`)
  const { body } = await ask(`${origin}/metrics`)
  server.close()
  return body
}

const text = readFileSync(join(root, "docs/migrate.md"), "utf8")
const [, section = ""] = text.split("## From other metrics of HTTP requests\n")

interface Row {
  readonly from: string
  readonly metric: string
  readonly byDefault: string | undefined
  readonly options: object | undefined
}

const code = (cell: string): string | undefined => /^`(.+)`$/.exec(cell)?.[1]

/** The table of the documentation. An empty first cell repeats the one above. */
const rows: Array<Row> = []
for (const [, from = "", metric = "", byDefault = "", options = ""] of section.matchAll(
  /^\| (.*?) ?\| (`.+?`) \| (.*?) ?\| (.+) \|$/gm
)) {
  rows.push({
    from: from === "" ? (rows.at(-1)?.from ?? "") : from,
    metric: code(metric) ?? "",
    byDefault: code(byDefault),
    options: code(options) === undefined ? undefined : (runInNewContext(`({${code(options)}})`) as object)
  })
}

const metricsOf = (from: string): ReadonlyArray<string> =>
  rows.filter((row) => row.from === from).map(({ metric }) => metric)

/** The families of `httpMetrics` with these options, once a request has ended. */
const ours = (options: object) =>
  Effect.gen(function* () {
    const registry = new Registry()
    const measure = httpMetrics({ registry, ...options })
    const server = createServer((request, response) => {
      measure(request, response, () => "/users/:id")
      response.end("Ada")
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close())
    )
    yield* Effect.promise(() => ask(`http://127.0.0.1:${(server.address() as AddressInfo).port}/users/1`))
    yield* eventually("the request has ended", async () => /duration\w*_count\{/.test(await registry.metrics()))
    return familiesIn(yield* Effect.promise(() => registry.metrics()))
  })

describe("The documentation says of the metrics of others", () => {
  it("what fastify-metrics exposes, and that it leaves out unmatched requests", async () => {
    const exposition = await ofFastifyMetrics()
    assert.sameMembers([...familiesIn(exposition)], [...metricsOf("fastify-metrics")])
    assert.notInclude(exposition, "missing")
    assert.include(section, `${boundsIn(exposition).slice(0, -1).join(", ")} and 10 those of fastify-metrics`)
  })

  it("what express-prom-bundle exposes, with the paths that were sent", async () => {
    const exposition = await ofPromBundle({ includeMethod: true, includePath: true })
    assert.sameMembers([...familiesIn(exposition)], [...metricsOf("express-prom-bundle")])
    assert.include(exposition, 'path="/users/#val"')
    assert.include(exposition, 'path="/missing"')
    assert.include(section, `${boundsIn(exposition).slice(0, -1).join(", ")} and 10 are those of express-prom-bundle`)
  })

  it("that express-prom-bundle has only the status by default", async () => {
    assert.include(familiesIn(await ofPromBundle({})), "http_request_duration_seconds{status_code}")
  })

  for (const { byDefault, from, metric, options } of rows) {
    if (options === undefined || byDefault === undefined) continue
    it.scopedLive(`which options give the name and labels of ${metric.split("{")[0]} of ${from}`, () =>
      Effect.gen(function* () {
        const found = yield* ours(options)
        assert.include(found, metric)
        assert.include(yield* ours("sizes" in options ? { sizes: true } : {}), byDefault)
      })
    )
  }

  it("eight metrics of three others", () => {
    assert.deepStrictEqual(
      rows.map(({ from }) => from),
      [...Array(2).fill("fastify-metrics"), ...Array(2).fill("express-prom-bundle"), ...Array(4).fill("OpenTelemetry")]
    )
  })
})
