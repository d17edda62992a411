import { assert, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import * as Prometheus from "prom-client"
import * as ConsulAgent from "../../src/ConsulAgent.js"
import * as Metrics from "../../src/Metrics.js"
import * as MetricsServer from "../../src/MetricsServer.js"
import * as Registry from "../../src/Registry.js"
import { describeWith } from "../support/binaries.js"
import { consul, prometheus, until } from "../support/services.js"

describeWith(["consul", "prometheus"], "The whole way", () => {
  it.scopedLive(
    "an application is measured, served, registered with Consul, discovered and scraped by Prometheus, and gone when it stops",
    () =>
      Effect.gen(function* () {
        const agent = yield* consul()
        const { query } = yield* prometheus("prometheus", [
          {
            job_name: "services",
            consul_sd_configs: [{ server: agent.address.replace("http://", ""), refresh_interval: "1s" }],
            relabel_configs: [
              { source_labels: ["__meta_consul_service"], regex: "checkout", action: "keep" },
              { source_labels: ["__meta_consul_service_id"], target_label: "instance" }
            ]
          }
        ])

        const registry = new Prometheus.Registry()
        const registers = [registry]
        const duration = new Prometheus.Histogram({ name: "order_seconds", help: "Orders, in seconds.", registers })
        const exceptions = new Prometheus.Counter({ name: "order_failures_total", help: "Failed orders.", registers })
        const inProgress = new Prometheus.Gauge({ name: "orders_in_progress", help: "Orders running.", registers })

        const application = yield* Scope.make()
        const server = yield* MetricsServer.layer({ host: "127.0.0.1" }).pipe(
          Layer.provide(
            ConsulAgent.layer({
              address: agent.address,
              name: "checkout",
              serviceId: "checkout-7",
              check: { interval: "1 second" }
            })
          ),
          Layer.provide(Registry.layer(registry)),
          Layer.build,
          Effect.map((context) => Context.get(context, MetricsServer.MetricsServer)),
          Scope.extend(application)
        )
        assert.isTrue(yield* server.isRegistered)

        const order = (number: number) =>
          (number % 5 === 0 ? Effect.fail(new Error(`order ${number}`)) : Effect.sleep("1 millis")).pipe(
            Metrics.instrumented({ duration, exceptions, inProgress })
          )
        const exits = yield* Effect.forEach(
          Array.from({ length: 250 }, (_, number) => number),
          (number) => Effect.exit(order(number)),
          { concurrency: 20 }
        )
        assert.strictEqual(exits.filter(Exit.isFailure).length, 50)

        yield* until("it is up", query('up{instance="checkout-7"}'), (up) => up === 1)
        const selector = '{instance="checkout-7"}'
        assert.strictEqual(yield* query(`order_seconds_count${selector}`), 250)
        assert.strictEqual(yield* query(`order_failures_total${selector}`), 50)
        assert.strictEqual(yield* query(`orders_in_progress${selector}`), 0)
        assert.isAbove((yield* query(`order_seconds_sum${selector}`)) ?? 0, 0.2)

        yield* Scope.close(application, Exit.void)
        assert.notProperty(yield* agent.services, "checkout-7")
        const answer = yield* Effect.exit(Effect.tryPromise(() => fetch(server.url)))
        assert.isTrue(Exit.isFailure(answer))
        yield* until("Prometheus has forgotten it", query(`up${selector}`), (up) => up === undefined)
      }),
    600_000
  )
})

describeWith(["prometheus", "prometheus3"], "Prometheus 2 and 3", () => {
  it.scopedLive(
    "scrape every kind of metric, with hostile labels and extreme numbers, and give back the values",
    () =>
      Effect.gen(function* () {
        const registry = new Prometheus.Registry()
        const registers = [registry]
        const requests = new Prometheus.Counter({
          name: "requests_total",
          help: 'Help with "quotes", \\ and\nanother line, ünd 🎉.',
          labelNames: ["path"],
          registers
        })
        const hostile = 'a "quoted" \\ path\nwith ünïcödé 🎉'
        requests.inc({ path: hostile }, 7)
        new Prometheus.Counter({ name: "jobs", help: "No total in the name.", registers }).inc(3)
        new Prometheus.Counter({ name: "never_total", help: "No series yet.", labelNames: ["kind"], registers })
        const extremes = new Prometheus.Gauge({ name: "extremes", help: "Numbers.", labelNames: ["which"], registers })
        const numbers = { inf: Infinity, ninf: -Infinity, nan: NaN, max: 1.7976931348623157e308, min: 5e-324, zero: -0 }
        for (const [which, value] of Object.entries(numbers)) extremes.set({ which }, value)
        const sizes = new Prometheus.Histogram({ name: "size_bytes", help: "Sizes.", buckets: [1, 10, 100], registers })
        for (const size of [0.5, 5, 5, 50, 500]) sizes.observe(size)
        const latency = new Prometheus.Summary({
          name: "latency_seconds",
          help: "Latency.",
          percentiles: [0.5],
          registers
        })
        for (const seconds of [1, 2, 3]) latency.observe(seconds)
        Prometheus.collectDefaultMetrics({ register: registry })

        const server = yield* MetricsServer.layer({ host: "127.0.0.1" }).pipe(
          Layer.provide(Registry.layer(registry)),
          Layer.build,
          Effect.map((context) => Context.get(context, MetricsServer.MetricsServer))
        )
        const targets = [`127.0.0.1:${server.address.port}`]
        const empty = yield* MetricsServer.layer({ host: "127.0.0.1" }).pipe(
          Layer.provide(Registry.layer(new Prometheus.Registry())),
          Layer.build,
          Effect.map((context) => Context.get(context, MetricsServer.MetricsServer))
        )
        const jobs = [
          { job_name: "full", static_configs: [{ targets }] },
          { job_name: "empty", static_configs: [{ targets: [`127.0.0.1:${empty.address.port}`] }] }
        ]
        const servers = yield* Effect.all([prometheus("prometheus", jobs), prometheus("prometheus3", jobs)], {
          concurrency: 2
        })
        // Version 2.24 asks for an OpenMetrics that came before 1.0.0, and so gets text; version 3 gets OpenMetrics 1.0.0,
        // where a counter whose name does not end in _total is unknown.
        const types = ["counter", "unknown"]
        for (const { query, typeOf } of servers) {
          yield* until("it is up", query('up{job="full"}'), (up) => up === 1)
          yield* until("the empty one is up", query('up{job="empty"}'), (up) => up === 1)
          assert.strictEqual(yield* typeOf("jobs"), types.shift())
          assert.strictEqual(yield* query("requests_total"), 7)
          assert.strictEqual(yield* query(`requests_total{path=${JSON.stringify(hostile)}}`), 7)
          assert.strictEqual(yield* query("jobs"), 3)
          assert.isUndefined(yield* query("never_total"))
          for (const [which, value] of Object.entries(numbers)) {
            assert.deepEqual((yield* query(`extremes{which="${which}"}`))?.toString(), (value + 0).toString(), which)
          }
          assert.strictEqual(yield* query('size_bytes_bucket{le=~"10|10.0"}'), 3)
          assert.strictEqual(yield* query('size_bytes_bucket{le="+Inf"}'), 5)
          assert.strictEqual(yield* query("size_bytes_count"), 5)
          assert.strictEqual(yield* query("size_bytes_sum"), 560.5)
          assert.strictEqual(yield* query('latency_seconds{quantile="0.5"}'), 2)
          assert.strictEqual(yield* query("latency_seconds_count"), 3)
          assert.isAbove((yield* query("process_start_time_seconds")) ?? 0, 1e9)
          assert.strictEqual(yield* query('effect_prometheus_errors_total{job="full",operation="collect"}'), 0)
        }
      }),
    600_000
  )
})
