import { randomBytes } from "node:crypto"
import { HttpMiddleware, HttpRouter, HttpServer, HttpServerResponse } from "@effect/platform"
import { assert, it } from "@effect/vitest"
import { Effect, Either, Layer, Tracer } from "effect"
import * as Metrics from "../../src/Metrics.js"
import { describeWith } from "../support/binaries.js"
import { listen, measuring } from "../support/httpApps.js"
import { get } from "../support/httpClient.js"
import { clients } from "../support/metrics.js"
import { inThisThread, started } from "../support/servers.js"
import { prometheus, until } from "../support/services.js"

/** Samples what is not called `unsampled`, and keeps the ids of each span by its name. */
const sampling = () => {
  const ids = new Map<string, { readonly trace_id: string; readonly span_id: string }>()
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const span = { trace_id: randomBytes(16).toString("hex"), span_id: randomBytes(8).toString("hex") }
      ids.set(name, span)
      const attributes = new Map<string, unknown>()
      return {
        _tag: "Span",
        name,
        traceId: span.trace_id,
        spanId: span.span_id,
        parent,
        context,
        links,
        kind,
        sampled: !name.includes("unsampled"),
        status: { _tag: "Started", startTime },
        attributes,
        attribute: (key, value) => void attributes.set(key, value),
        event: () => {},
        addLinks: () => {},
        end: () => {}
      }
    },
    context: (f) => f()
  })
  return { ids, tracer }
}

interface Found {
  readonly seriesLabels: Readonly<Record<string, string>>
  readonly exemplars: ReadonlyArray<{ readonly labels: Readonly<Record<string, string>> }>
}

describeWith(["prometheus3"], "Exemplars", () => {
  for (const { client, name } of clients) {
    it.scopedLive(`come from a sampled span out of the exemplar query of Prometheus (${name})`, () =>
      Effect.gen(function* () {
        const registry = new client.Registry()
        const { ids, tracer } = sampling()
        const made = { help: "h", enableExemplars: true, registers: [], labelNames: ["of"] as const }
        const seconds = new client.Histogram({ name: "job_seconds", ...made })
        const failures = new client.Counter({ name: "job_failures_total", ...made })
        registry.registerMetric(seconds)
        registry.registerMetric(failures)
        const middleware = yield* measuring(registry, { exemplar: "currentSpan" })
        const app = HttpRouter.get(HttpRouter.empty, "/:sampled", HttpServerResponse.text("ok"))
        const url = yield* listen(
          HttpServer.serve(app, middleware).pipe(
            HttpMiddleware.withSpanNameGenerator((request) => request.url),
            Layer.provide(Layer.setTracer(tracer))
          ) as never
        )
        const run = (of: string) =>
          Effect.fail("no").pipe(
            Metrics.timed(seconds, { labels: { of }, exemplar: "currentSpan" }),
            Metrics.countExceptions(failures, { labels: { of }, exemplar: "currentSpan" }),
            Effect.withSpan(of),
            Effect.withTracer(tracer),
            Effect.either
          )
        for (const of of ["sampled", "unsampled"]) {
          assert.isTrue(Either.isLeft(yield* run(of)))
          assert.strictEqual((yield* get(`${url}/${of}`)).status, 200)
        }
        const server = yield* started(inThisThread, {}, { registry })
        const { url: promUrl } = yield* prometheus(
          "prometheus3",
          [
            {
              job_name: "exemplars",
              scrape_protocols: ["OpenMetricsText1.0.0"],
              static_configs: [{ targets: [`127.0.0.1:${server.address.port}`] }]
            }
          ],
          ["--enable-feature=exemplar-storage"]
        )
        const found = Effect.promise(async () => {
          const query = new URLSearchParams({
            query: '{__name__=~"job_.*|http_server_.*"}',
            start: String(Date.now() / 1e3 - 600),
            end: String(Date.now() / 1e3 + 600)
          })
          const response = await fetch(`${promUrl}/api/v1/query_exemplars?${query}`)
          const { data } = (await response.json()) as { readonly data: ReadonlyArray<Found> }
          return data.flatMap(({ exemplars, seriesLabels: { __name__, of, route } }) =>
            exemplars.map(({ labels }) => ({ series: `${__name__} ${of ?? route}`, labels }))
          )
        })
        const all = yield* until("there are exemplars", found, (some) => some.length >= 4)
        const byName = (a: { readonly series: string }, b: { readonly series: string }) =>
          a.series < b.series ? -1 : 1
        assert.deepStrictEqual([...all].sort(byName), [
          { series: "http_server_request_duration_seconds_bucket /:sampled", labels: ids.get("/sampled") ?? {} },
          { series: "http_server_requests_total /:sampled", labels: ids.get("/sampled") ?? {} },
          { series: "job_failures_total sampled", labels: ids.get("sampled") ?? {} },
          { series: "job_seconds_bucket sampled", labels: ids.get("sampled") ?? {} }
        ])
        assert.isDefined(ids.get("/unsampled"))
      })
    )
  }
})
