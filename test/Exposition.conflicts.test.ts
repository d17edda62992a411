import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric } from "effect"
import * as PromClient from "prom-client"
import * as EffectMetrics from "../src/EffectMetrics.js"
import * as Registry from "../src/Registry.js"
import { bodyOf, bodyOnce, formats, logged, metric, parsers } from "./support/expositions.js"
import { type Client, clients } from "./support/metrics.js"

type Kind = "Counter" | "Gauge" | "Histogram" | "Summary"

type Spec = readonly [kind: Kind, name: string]

const kinds: ReadonlyArray<Kind> = ["Counter", "Gauge", "Histogram", "Summary"]

const make = (client: Client, registry: PromClient.Registry, [kind, name]: Spec): void => {
  const options = { name, help: "h", registers: [registry] }
  if (kind === "Counter") new client.Counter(options).inc()
  else if (kind === "Gauge") new client.Gauge(options).set(1)
  else new client[kind](options).observe(1)
}

/** Two metrics of a client with samples of the same name, whichever of them is registered first. */
const pairs: ReadonlyArray<readonly [one: Spec, other: Spec]> = [
  ...(["_count", "_sum", "_bucket", "_created"] as const).flatMap((suffix) =>
    kinds.map(
      (kind) =>
        [
          ["Histogram", "jobs"],
          [kind, `jobs${suffix}`]
        ] as const
    )
  ),
  ...(["_count", "_sum", "_created"] as const).flatMap((suffix) =>
    kinds.map(
      (kind) =>
        [
          ["Summary", "x"],
          [kind, `x${suffix}`]
        ] as const
    )
  )
]

/** Two that have no sample name in common in text; a counter that clashes in OpenMetrics is unknown there. */
const peaceful: ReadonlyArray<readonly [one: Spec, other: Spec, unknown?: string]> = [
  [
    ["Summary", "x"],
    ["Gauge", "x_bucket"]
  ],
  [
    ["Gauge", "x"],
    ["Gauge", "x_count"]
  ],
  [
    ["Histogram", "x"],
    ["Gauge", "x_total"]
  ],
  [
    ["Histogram", "x"],
    ["Gauge", "x_info"]
  ],
  [["Counter", "x_total"], ["Gauge", "x"], "x_total"],
  [["Counter", "x_total"], ["Gauge", "x_created"], "x_total"],
  [["Counter", "x_total"], ["Histogram", "x"], "x_total"],
  [["Counter", "x_sum_total"], ["Summary", "x"], "x_sum_total"],
  [["Counter", "x_count_total"], ["Histogram", "x"], "x_count_total"],
  [["Counter", "x_total"], ["Counter", "x_created_total"], "x_created_total"],
  [["Counter", "x_total"], ["Counter", "x_total_total"], "x_total_total"],
  [["Counter", "x_total_total"], ["Gauge", "x_total_created"], "x_total_total"]
]

const inBothOrders = (pair: readonly [Spec, Spec]) => [pair, [pair[1], pair[0]] as const]

const namesIn = (body: string): ReadonlyArray<string> =>
  [...body.matchAll(/^# TYPE (\S+) /gm)].map(([, name = ""]) => name).filter((name) => !name.startsWith("effect_"))

const count = (body: string): string | undefined => /^effect_prometheus_metrics_left_out (\d+)$/m.exec(body)?.[1]

describe("Two families that share a sample name", () => {
  for (const { client, name } of clients) {
    for (const [first, second] of pairs.flatMap(inBothOrders)) {
      it.effect(`of ${name}, a ${first.join(" ")} and then a ${second.join(" ")}: the first one is exposed`, () =>
        logged(function* (lines) {
          const registry = new client.Registry()
          for (const spec of [first, second]) make(client, registry, spec)
          for (const format of formats) {
            const body = yield* bodyOf(registry, format)
            const [family, ...others] = parsers[format](body)
            assert.strictEqual(family?.name, format === "text" ? first[1] : first[1].replace(/_total$/, ""))
            assert.deepStrictEqual(
              others.map((other) => other.name),
              ["effect_prometheus_metrics_left_out"]
            )
            assert.strictEqual(count(body), "1")
            for (const names of [[second[1]], [first[1], second[1]], [first[1]]]) {
              const asked = names.includes(first[1]) ? [first[1]] : []
              assert.deepStrictEqual(namesIn(yield* bodyOf(registry, format, { names })), asked)
            }
          }
          assert.strictEqual(lines.length, 1, lines.join("\n"))
          const [kind, left] = second
          assert.match(
            lines[0] ?? "",
            new RegExp(`^WARN the ${kind.toLowerCase()} ${left} is left out: .*\\b${first[1]}\\b`)
          )
        })
      )
    }

    for (const [one, other, unknown] of peaceful) {
      for (const [first, second] of inBothOrders([one, other])) {
        it.effect(`of ${name} is what a ${first.join(" ")} and a ${second.join(" ")} do not: both are exposed`, () =>
          logged(function* (lines) {
            const registry = new client.Registry()
            for (const spec of [first, second]) make(client, registry, spec)
            const text = yield* bodyOf(registry, "text")
            parsers.text(text)
            assert.deepStrictEqual(namesIn(text), [first[1], second[1]])
            assert.deepStrictEqual(lines, [])
            const families = parsers.openmetrics(yield* bodyOf(registry, "openmetrics"))
            const demoted = families.filter(({ type }) => type === "unknown").map((family) => family.name)
            // Of two counters the second one is left out.
            const isBetweenCounters = one[0] === "Counter" && other[0] === "Counter"
            const expected = unknown === undefined ? [] : [isBetweenCounters ? second[1] : unknown]
            if (!isBetweenCounters || first === one) assert.deepStrictEqual(demoted, expected)
            assert.strictEqual(lines.length, demoted.length)
          })
        )
      }
    }
  }

  it.effect("are the same two regardless of what else is registered or removed", () =>
    logged(function* (lines) {
      const registry = new PromClient.Registry()
      make(PromClient, registry, ["Gauge", "jobs_count"])
      make(PromClient, registry, ["Histogram", "jobs"])
      make(PromClient, registry, ["Gauge", "jobs_sum"])
      assert.deepStrictEqual(namesIn(yield* bodyOnce(registry, "text")), ["jobs_count", "jobs_sum"])
      registry.removeSingleMetric("jobs_count")
      assert.deepStrictEqual(namesIn(yield* bodyOnce(registry, "text")), ["jobs"])
      make(PromClient, registry, ["Gauge", "jobs_count"])
      assert.deepStrictEqual(namesIn(yield* bodyOnce(registry, "text")), ["jobs"])
      registry.removeSingleMetric("jobs")
      const last = yield* bodyOnce(registry, "text")
      assert.deepStrictEqual(namesIn(last), ["jobs_sum", "jobs_count"])
      assert.strictEqual(count(last), undefined)
      assert.strictEqual(lines.length, 3)
    })
  )

  it.effect("are looked for anew where one takes the place of another, or the last one goes", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      make(PromClient, registry, ["Gauge", "jobs_count"])
      for (const [spec, left] of [
        [["Gauge", "jobs"], undefined],
        [["Histogram", "jobs"], "1"],
        [["Gauge", "others"], undefined],
        [["Summary", "jobs"], "1"]
      ] as const) {
        make(PromClient, registry, spec)
        const body = yield* bodyOnce(registry, "text")
        assert.deepStrictEqual(namesIn(body), left === undefined ? ["jobs_count", spec[1]] : ["jobs_count"])
        assert.strictEqual(count(body), left)
        registry.removeSingleMetric(spec[1])
      }
      const last = yield* bodyOnce(registry, "text")
      assert.deepStrictEqual(namesIn(last), ["jobs_count"])
      assert.strictEqual(count(last), undefined)
    })
  )

  for (const [type, name, other, isTyped] of [
    ["histogram", "jobs", ["Gauge", "jobs_count"], false],
    ["histogram", "jobs", ["Gauge", "jobs_total"], true],
    ["histogram", "jobs", ["Counter", "jobs_created_total"], false],
    ["counter", "jobs_total", ["Gauge", "jobs"], false],
    ["counter", "jobs_total", ["Gauge", "jobs_created"], false],
    ["counter", "jobs_total", ["Gauge", "jobs_count"], true],
    ["gauge", "jobs", ["Histogram", "jobs_count"], true]
  ] as const) {
    it.effect(`are one that is a ${type} ${name} only when it is read, and a ${other.join(" ")}: ${isTyped}`, () =>
      Effect.gen(function* () {
        const registry = new PromClient.Registry()
        const samples = [{ metricName: "jobs_bucket", labels: { le: "+Inf" }, value: 1 }]
        for (const part of ["_sum", "_count"])
          samples.push({ metricName: `jobs${part}`, labels: {} as never, value: 1 })
        const made = metric(name, type, type === "histogram" ? samples : [{ value: 1 }]) as object
        registry.registerMetric({ ...made, type: undefined } as never)
        make(PromClient, registry, other)
        for (const format of formats) {
          const body = yield* bodyOf(registry, format)
          parsers[format](body)
          const family = format === "openmetrics" && type === "counter" && isTyped ? name.replace(/_total$/, "") : name
          const untyped = format === "text" ? "untyped" : "unknown"
          assert.include(body, `# TYPE ${family} ${isTyped ? type : untyped}\n`)
          assert.isAtMost(body.match(/^jobs_count /gm)?.length ?? 0, 1)
        }
      })
    )
  }

  it.effect("are two metrics of a registry with the same name, and one with an invalid name", () =>
    logged(function* (lines) {
      const all = [
        metric("a", "gauge", [{ value: 1 }]),
        metric("a", "gauge", [{ value: 2 }]),
        metric("b", undefined, [{ value: 5 }]),
        metric("b", undefined, [{ value: 6 }]),
        metric("c_total", "gauge", [{ value: 7 }]),
        metric("c_total", "counter", [{ value: 8 }]),
        metric("c", "gauge", [{ value: 9 }]),
        metric("a b", "gauge", [{ value: 3 }]),
        metric(undefined as never, "gauge", [{ value: 4 }])
      ]
      const registry: Registry.MetricRegistry = {
        getMetricsAsArray: () => all,
        getSingleMetric: () => undefined,
        registerMetric: () => {}
      }
      for (const format of formats) {
        const body = yield* bodyOf(registry, format)
        assert.deepStrictEqual(
          parsers[format](body).flatMap(({ samples }) => samples.map(({ name, value }) => [name, value])),
          [
            ["a", 1],
            ["b", 5],
            ["c_total", 7],
            ["c", 9],
            ["effect_prometheus_metrics_left_out", 5]
          ]
        )
      }
      assert.strictEqual(lines.length, 5, lines.join("\n"))
      assert.include(
        lines.join("\n"),
        "the metric b is left out: the metric b, which is registered earlier, already has the sample name b;"
      )
    })
  )

  it.effect("are left out beside counters that are unknown in OpenMetrics, which are so nevertheless", () =>
    Effect.gen(function* () {
      const registry = new PromClient.Registry()
      make(PromClient, registry, ["Gauge", "x"])
      make(PromClient, registry, ["Counter", "x_total"])
      make(PromClient, registry, ["Histogram", "jobs"])
      make(PromClient, registry, ["Gauge", "jobs_count"])
      const body = yield* bodyOf(registry, "openmetrics")
      parsers.openmetrics(body)
      assert.include(body, "\n# TYPE x_total unknown\n")
    })
  )

  it.effect("are one of the registry, which is exposed, and one of Effect's, which is not", () =>
    logged(function* (lines) {
      const registry = new PromClient.Registry()
      make(PromClient, registry, ["Gauge", "conflicts_a_count"])
      make(PromClient, registry, ["Counter", "conflicts_b_sum_total"])
      make(PromClient, registry, ["Counter", "conflicts_c_total"])
      for (const name of ["conflicts_a", "conflicts_b"]) {
        yield* Metric.update(Metric.summary({ name, maxAge: "1 day", maxSize: 9, error: 0, quantiles: [0.5] }), 1)
      }
      yield* Metric.increment(Metric.counter("conflicts_c_created", { incremental: true }))
      const layer = EffectMetrics.layer({ include: ["conflicts_*"] })
      yield* Layer.build(Layer.provide(layer, Registry.layer(registry)))
      for (const format of formats) {
        const body = yield* bodyOnce(registry, format)
        parsers[format](body)
        assert.notMatch(body, /^conflicts_[ab]{/m)
        assert.strictEqual(count(body), "2")
      }
      assert.strictEqual(lines.filter((line) => line.includes("is left out")).length, 2)
      assert.include(lines.join("\n"), "conflicts_c_created_total")
    }).pipe(Effect.scoped)
  )
})
