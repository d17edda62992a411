import { assert, describe, it, vi } from "@effect/vitest"
import * as PromClient from "prom-client"
import type { Counter, Gauge, Labels, Observer, OnlyErrors } from "../../src/Metrics.js"
import type { MetricRegistry } from "../../src/Registry.js"
import type { Client } from "./metrics.js"
import {
  clients,
  counts,
  errors,
  FakeCounter,
  FakeGauge,
  FakeObserver,
  fakes,
  metrics,
  metricsWithExemplars,
  rejecting,
  throwing
} from "./metrics.js"

/** A metric with the labels that it is given, and how they follow from the end of a run. */
export interface MetricEntry<Metric> {
  readonly metric: Metric
  readonly labels?: Labels | ((succeeded: boolean) => Labels)
}

export interface Instruments {
  readonly duration?: MetricEntry<Observer>
  readonly exceptions?: MetricEntry<Counter> & { readonly only?: OnlyErrors | undefined }
  readonly inProgress?: { readonly metric: Gauge; readonly labels?: Labels }
}

/** The outcome of a measured run, and its warnings. */
export interface MeasuredRun {
  readonly outcome: PromiseSettledResult<unknown>
  readonly warnings: ReadonlyArray<string>
}

/** One way to measure: an effect, a function, a promise, a method. */
export interface Measurement {
  readonly name: string
  readonly measured: (
    instruments: Instruments,
    registry: MetricRegistry
  ) => (body: () => unknown) => Promise<MeasuredRun>
}

interface ThreeMetrics {
  readonly duration: Observer
  readonly exceptions: Counter
  readonly inProgress: Gauge
}

/** All three, without labels. */
const allOf = ({ duration, exceptions, inProgress }: ThreeMetrics): Instruments => ({
  duration: { metric: duration },
  exceptions: { metric: exceptions },
  inProgress: { metric: inProgress }
})

/** All three, with the same labels; those of the exceptions may be a function. */
const allWith = (
  { duration, exceptions, inProgress }: ThreeMetrics,
  labels: Labels,
  ofExceptions: Labels | (() => Labels) = labels
): Instruments => ({
  duration: { metric: duration, labels },
  exceptions: { metric: exceptions, labels: ofExceptions },
  inProgress: { metric: inProgress, labels }
})

const failure = new RangeError("the body failed")
const fails = () => {
  throw failure
}
const succeeds = () => "the value"

const sameOutcome = (outcome: PromiseSettledResult<unknown>, body: () => unknown) => {
  if (body === succeeds) assert.deepStrictEqual(outcome, { status: "fulfilled", value: "the value" })
  else assert.strictEqual(outcome.status === "rejected" && outcome.reason, failure)
}

/** A way in which a metric fails: the instruments, the operation that is logged, and how often that was called. */
interface Failing {
  readonly title: string
  readonly operation: string
  readonly bodies: ReadonlyArray<() => unknown>
  readonly make: () => {
    readonly instruments: Instruments
    readonly called: () => number
    /** How often something was recorded although what comes before it had failed. */
    readonly recorded?: () => number
  }
}

const failing: ReadonlyArray<Failing> = [
  {
    title: "an observer that throws",
    operation: "observe",
    bodies: [succeeds, fails],
    make: () => {
      const metric = new FakeObserver({ observe: throwing("observe") })
      return { instruments: { duration: { metric } }, called: () => metric.observed.length }
    }
  },
  {
    title: "a counter that throws",
    operation: "inc",
    bodies: [fails],
    make: () => {
      const metric = new FakeCounter({ inc: throwing("inc") })
      return { instruments: { exceptions: { metric } }, called: () => metric.counted }
    }
  },
  {
    title: "a gauge whose inc throws",
    operation: "inc",
    bodies: [succeeds, fails],
    make: () => {
      const metric = new FakeGauge({ inc: throwing("inc") })
      const decreased = () => metric.history.length - metric.started
      return { instruments: { inProgress: { metric } }, called: () => metric.started, recorded: decreased }
    }
  },
  {
    title: "a gauge whose dec throws",
    operation: "dec",
    bodies: [succeeds, fails],
    make: () => {
      const metric = new FakeGauge({ dec: throwing("dec") })
      return { instruments: { inProgress: { metric } }, called: () => metric.history.length - metric.started }
    }
  },
  {
    title: "a function of labels of an observer that throws",
    operation: "observe",
    bodies: [succeeds, fails],
    make: () => {
      const metric = new FakeObserver()
      const labels = vi.fn(throwing("labels"))
      const called = () => labels.mock.calls.length
      return { instruments: { duration: { metric, labels } }, called, recorded: () => metric.observed.length }
    }
  },
  {
    title: "a function of labels of a counter that throws",
    operation: "inc",
    bodies: [fails],
    make: () => {
      const metric = new FakeCounter()
      const labels = vi.fn(throwing("labels"))
      const called = () => labels.mock.calls.length
      return { instruments: { exceptions: { metric, labels } }, called, recorded: () => metric.counted }
    }
  },
  {
    title: "a predicate that throws",
    operation: "inc",
    bodies: [fails],
    make: () => {
      const metric = new FakeCounter()
      const when = vi.fn(throwing("when"))
      const called = () => when.mock.calls.length
      return { instruments: { exceptions: { metric, only: { when } } }, called, recorded: () => metric.counted }
    }
  },
  {
    title: "a gauge that throws when it is asked for its child",
    operation: "inc",
    bodies: [succeeds, fails],
    make: () => {
      const labels = vi.fn(throwing("labels"))
      const metric = Object.assign(new FakeGauge(), { labels })
      const called = () => labels.mock.calls.length
      const recorded = () => metric.history.length
      return { instruments: { inProgress: { metric, labels: { method: "GET" } } }, called, recorded }
    }
  }
]

/** Ways to fail later, by a promise. All are fakes whose methods, or whose callbacks, are async. */
const failingLater: ReadonlyArray<Failing> = [
  {
    title: "an observer whose promise rejects",
    operation: "observe",
    bodies: [succeeds, fails],
    make: () => {
      const observe = vi.fn(rejecting("observe"))
      const called = () => observe.mock.calls.length
      return { instruments: { duration: { metric: { name: "fake_seconds", observe } } }, called }
    }
  },
  {
    title: "a counter whose promise rejects",
    operation: "inc",
    bodies: [fails],
    make: () => {
      const inc = vi.fn(rejecting("inc"))
      return {
        instruments: { exceptions: { metric: { name: "fake_total", inc } } },
        called: () => inc.mock.calls.length
      }
    }
  },
  {
    title: "a gauge whose promise of inc rejects",
    operation: "inc",
    bodies: [succeeds, fails],
    make: () => {
      const inc = vi.fn(rejecting("inc"))
      const metric = { name: "fake_in_progress", inc, dec: () => {} }
      return { instruments: { inProgress: { metric } }, called: () => inc.mock.calls.length }
    }
  },
  {
    title: "a gauge whose promise of dec rejects",
    operation: "dec",
    bodies: [succeeds, fails],
    make: () => {
      const dec = vi.fn(rejecting("dec"))
      const metric = { name: "fake_in_progress", inc: () => {}, dec }
      return { instruments: { inProgress: { metric } }, called: () => dec.mock.calls.length }
    }
  },
  ...(["resolves", "rejects"] as const).flatMap((how): ReadonlyArray<Failing> => {
    const async = () => vi.fn(how === "rejects" ? rejecting("callback") : () => Promise.resolve({ method: "GET" }))
    return [
      {
        title: `a function of labels of an observer whose promise ${how}`,
        operation: "observe",
        bodies: [succeeds, fails],
        make: () => {
          const labels = async()
          const metric = new FakeObserver()
          const called = () => labels.mock.calls.length
          const entry = { metric, labels: labels as unknown as () => Labels }
          return { instruments: { duration: entry }, called, recorded: () => metric.observed.length }
        }
      },
      {
        title: `a function of labels of a counter whose promise ${how}`,
        operation: "inc",
        bodies: [fails],
        make: () => {
          const labels = async()
          const metric = new FakeCounter()
          const called = () => labels.mock.calls.length
          const entry = { metric, labels: labels as unknown as () => Labels }
          return { instruments: { exceptions: entry }, called, recorded: () => metric.counted }
        }
      },
      {
        title: `a predicate whose promise ${how}`,
        operation: "inc",
        bodies: [fails],
        make: () => {
          const when = async()
          const metric = new FakeCounter()
          const called = () => when.mock.calls.length
          const only = { when: when as unknown as () => boolean }
          return { instruments: { exceptions: { metric, only } }, called, recorded: () => metric.counted }
        }
      },
      {
        title: `a gauge whose promise of its child ${how}`,
        operation: "inc",
        bodies: [succeeds, fails],
        make: () => {
          const labels = async()
          const metric = Object.assign(new FakeGauge(), { labels })
          const called = () => labels.mock.calls.length
          const recorded = () => metric.history.length
          return { instruments: { inProgress: { metric, labels: { method: "GET" } } }, called, recorded }
        }
      }
    ]
  })
]

class HttpError extends Error {
  readonly _tag = "HttpError"
}

const only: ReadonlyArray<{
  readonly title: string
  readonly only: OnlyErrors
  readonly counted: ReadonlyArray<number>
}> = [
  { title: "a class", only: TypeError, counted: [1, 0, 0, 0, 0] },
  { title: "a superclass", only: Error, counted: [1, 1, 1, 0, 0] },
  { title: "a list of classes", only: [TypeError, HttpError], counted: [1, 0, 1, 0, 0] },
  { title: "an empty list", only: [], counted: [0, 0, 0, 0, 0] },
  { title: "a tag", only: { tag: "HttpError" }, counted: [0, 0, 1, 0, 0] },
  { title: "a list of tags", only: { tag: ["HttpError", "Timeout"] }, counted: [0, 0, 1, 1, 0] },
  { title: "a predicate", only: { when: (error) => error === "text" }, counted: [0, 0, 0, 0, 1] }
]

const errorsToCount = [new TypeError("a"), new RangeError("b"), new HttpError("c"), { _tag: "Timeout" }, "text"]

const times = async (count: number, run: () => Promise<MeasuredRun>): Promise<ReadonlyArray<string>> => {
  const warnings: Array<string> = []
  for (let i = 0; i < count; i++) warnings.push(...(await run()).warnings)
  return warnings
}

/** Tests of each measurement, with any metric. */
const commonCases: ReadonlyArray<{ readonly title: string; readonly check: (side: Measurement) => Promise<void> }> = [
  ...[
    {
      title: "a run that succeeds is observed once, is not counted, and is in progress while it runs",
      body: succeeds,
      counted: 0
    },
    {
      title: "a run that fails is observed once and counted once, and its error is the same object",
      body: fails,
      counted: 1
    }
  ].map(({ body, counted, title }) => ({
    title,
    check: async (side: Measurement) => {
      const { duration, exceptions, inProgress } = fakes()
      const run = side.measured(allOf({ duration, exceptions, inProgress }), new PromClient.Registry())
      const { outcome, warnings } = await run(body)
      sameOutcome(outcome, body)
      assert.strictEqual(duration.observed.length, 1)
      assert.strictEqual(exceptions.counted, counted)
      assert.deepStrictEqual(inProgress.history, [1, 0])
      assert.deepStrictEqual(warnings, [])
    }
  })),
  {
    title: "each metric that throws leaves the other two as they are",
    check: async (side) => {
      for (const broken of ["duration", "exceptions", "inProgress"] as const) {
        const whole = fakes()
        const duration = broken === "duration" ? new FakeObserver({ observe: throwing("observe") }) : whole.duration
        const exceptions = broken === "exceptions" ? new FakeCounter({ inc: throwing("inc") }) : whole.exceptions
        const inProgress = broken === "inProgress" ? new FakeGauge({ inc: throwing("inc") }) : whole.inProgress
        const run = side.measured(allOf({ duration, exceptions, inProgress }), new PromClient.Registry())
        const { outcome, warnings } = await run(fails)
        sameOutcome(outcome, fails)
        assert.strictEqual(duration.observed.length, 1)
        assert.strictEqual(exceptions.counted, 1)
        assert.deepStrictEqual(inProgress.history, broken === "inProgress" ? [1] : [1, 0])
        assert.strictEqual(warnings.length, 1)
      }
    }
  },
  ...[...failing, ...failingLater].flatMap(({ bodies, make, operation, title }) =>
    bodies.map((body) => ({
      title: `${title} changes nothing when the body ${body.name}, is called once a run, and is logged once`,
      check: async (side: Measurement) => {
        const registry = new PromClient.Registry()
        const { called, instruments, recorded } = make()
        const run = side.measured(instruments, registry)
        const warnings = await times(3, async () => {
          const ran = await run(body)
          sameOutcome(ran.outcome, body)
          return ran
        })
        assert.strictEqual(called(), 3)
        assert.strictEqual(recorded?.() ?? 0, 0)
        assert.strictEqual(warnings.length, 1)
        assert.include(warnings[0], `${operation} on metric fake_`)
        assert.deepStrictEqual(await errors(registry), { [operation]: 3 })
      }
    }))
  ),
  {
    title: "a metric without a name that throws is logged by its message, once",
    check: async (side) => {
      const observe = throwing("a child of a histogram")
      const run = side.measured({ duration: { metric: { observe } } }, new PromClient.Registry())
      const warnings = await times(3, () => run(succeeds))
      assert.strictEqual(warnings.length, 1)
      assert.include(warnings[0], "a child of a histogram")
    }
  },
  {
    title: "a registry that throws changes nothing, and the warning is still given",
    check: async (side) => {
      const registry: MetricRegistry = {
        getMetricsAsArray: () => [],
        getSingleMetric: throwing("getSingleMetric"),
        registerMetric: throwing("registerMetric")
      }
      const metric = new FakeObserver({ observe: throwing("observe") })
      const { outcome, warnings } = await side.measured({ duration: { metric } }, registry)(succeeds)
      sameOutcome(outcome, succeeds)
      assert.strictEqual(warnings.length, 1)
    }
  },
  ...[
    { title: "undefined", value: undefined },
    { title: "an object without a prototype", value: Object.create(null) as unknown },
    { title: "an error whose message is a symbol", value: Object.assign(new Error(), { message: Symbol("message") }) },
    {
      title: "an error whose message throws",
      value: Object.defineProperty(new Error(), "message", { get: throwing("message") })
    }
  ].map(({ title, value }) => ({
    title: `a metric that throws ${title} changes nothing, and is counted`,
    check: async (side: Measurement) => {
      const registry = new PromClient.Registry()
      const throws = (): never => {
        throw value
      }
      const run = side.measured({ duration: { metric: new FakeObserver({ observe: throws }) } }, registry)
      sameOutcome((await run(succeeds)).outcome, succeeds)
      sameOutcome((await run(fails)).outcome, fails)
      assert.deepStrictEqual(await errors(registry), { observe: 2 })
    }
  })),
  {
    title: "a metric that throws even when it is asked for its name changes nothing, and is counted",
    check: async (side) => {
      const registry = new PromClient.Registry()
      const metric = Object.defineProperty({ observe: throwing("observe") }, "name", { get: throwing("name") })
      const run = side.measured({ duration: { metric } }, registry)
      sameOutcome((await run(succeeds)).outcome, succeeds)
      sameOutcome((await run(fails)).outcome, fails)
      assert.deepStrictEqual(await errors(registry), { observe: 2 })
    }
  },
  ...only.map(({ title, only, counted }) => ({
    title: `of the errors, ${title} counts those that match`,
    check: async (side: Measurement) => {
      const perError: Array<number> = []
      for (const error of errorsToCount) {
        const { exceptions } = fakes()
        const run = side.measured({ exceptions: { metric: exceptions, only } }, new PromClient.Registry())
        const { outcome, warnings } = await run(() => {
          throw error
        })
        assert.strictEqual(outcome.status === "rejected" && outcome.reason, error)
        assert.deepStrictEqual(warnings, [])
        perError.push(exceptions.counted)
      }
      assert.deepStrictEqual(perError, counted)
    }
  }))
]

type Counted = Parameters<typeof counts>[0]

/** One run of `GET` that failed is in each of them, and nothing else. */
const assertRecorded = async (duration: Counted, exceptions: Counted, inProgress: Counted): Promise<void> => {
  const labels = '{method="GET",outcome="any"}'
  assert.deepStrictEqual(await counts(duration), { [`run_seconds_count${labels}`]: 1 })
  assert.deepStrictEqual(await counts(exceptions), { [`run_failures_total${labels}`]: 1 })
  assert.deepStrictEqual(await counts(inProgress), { [`runs_in_progress${labels}`]: 0 })
}

/** Tests of each measurement with the metrics of each client. */
const clientCases: ReadonlyArray<{
  readonly title: string
  readonly check: (side: Measurement, client: Client) => Promise<void>
}> = [
  {
    title: "metrics without labels are recorded",
    check: async (side, client) => {
      const registers = [new client.Registry()]
      const duration = new client.Histogram({ name: "run_seconds", help: "h", registers })
      const exceptions = new client.Counter({ name: "run_failures_total", help: "h", registers })
      const inProgress = new client.Gauge({ name: "runs_in_progress", help: "h", registers })
      const run = side.measured(allOf({ duration, exceptions, inProgress }), new client.Registry())
      await run(succeeds)
      await run(fails)
      assert.deepStrictEqual(await counts(duration), { run_seconds_count: 2 })
      assert.deepStrictEqual(await counts(exceptions), { run_failures_total: 1 })
      assert.deepStrictEqual(await counts(inProgress), { runs_in_progress: 0 })
    }
  },
  {
    title: "constant labels are recorded",
    check: async (side, client) => {
      const { duration, exceptions, inProgress, registry } = metrics(client)
      const labels = { method: "GET", outcome: "any" }
      const run = side.measured(allWith({ duration, exceptions, inProgress }, labels), registry)
      await run(succeeds)
      await run(fails)
      assert.deepStrictEqual(await counts(duration), { 'run_seconds_count{method="GET",outcome="any"}': 2 })
      assert.deepStrictEqual(await counts(exceptions), { 'run_failures_total{method="GET",outcome="any"}': 1 })
      assert.deepStrictEqual(await counts(inProgress), { 'runs_in_progress{method="GET",outcome="any"}': 0 })
    }
  },
  {
    title: "labels are worked out from how the run ended",
    check: async (side, client) => {
      const { duration, exceptions, registry } = metrics(client)
      const labels = (succeeded: boolean) => ({ method: "GET", outcome: succeeded ? "ok" : "error" })
      const run = side.measured(
        { duration: { metric: duration, labels }, exceptions: { metric: exceptions, labels } },
        registry
      )
      await run(succeeds)
      await run(fails)
      assert.deepStrictEqual(await counts(duration), {
        'run_seconds_count{method="GET",outcome="ok"}': 1,
        'run_seconds_count{method="GET",outcome="error"}': 1
      })
      assert.deepStrictEqual(await counts(exceptions), { 'run_failures_total{method="GET",outcome="error"}': 1 })
    }
  },
  {
    title: "a labelled child is recorded on its own series",
    check: async (side, client) => {
      const { duration, exceptions, inProgress, registry } = metrics(client)
      const run = side.measured(
        {
          duration: { metric: duration.labels("GET", "any") },
          exceptions: { metric: exceptions.labels({ method: "GET", outcome: "any" }) },
          inProgress: { metric: inProgress.labels("GET", "any") }
        },
        registry
      )
      await run(fails)
      await assertRecorded(duration, exceptions, inProgress)
    }
  },
  ...[metrics, metricsWithExemplars].flatMap((make) => {
    const whose = make === metrics ? "" : ", of metrics with enableExemplars"
    return [
      {
        title: `a label object that its owner changes later changes no series${whose}`,
        check: async (side: Measurement, client: Client) => {
          const { duration, exceptions, inProgress, registry } = make(client)
          const labels = { method: "GET", outcome: "any" }
          const run = side.measured(allWith({ duration, exceptions, inProgress }, labels), registry)
          await run(fails)
          labels.method = "POST"
          await assertRecorded(duration, exceptions, inProgress)
        }
      },
      {
        title: `a function of labels may give the same object again and again${whose}`,
        check: async (side: Measurement, client: Client) => {
          const { duration, exceptions, registry } = make(client)
          const reused = { method: "GET", outcome: "" }
          const labels = (succeeded: boolean) => Object.assign(reused, { outcome: succeeded ? "ok" : "error" })
          const run = side.measured(
            { duration: { metric: duration, labels }, exceptions: { metric: exceptions, labels } },
            registry
          )
          await run(fails)
          await run(succeeds)
          await run(fails)
          assert.deepStrictEqual(await counts(duration), {
            'run_seconds_count{method="GET",outcome="error"}': 2,
            'run_seconds_count{method="GET",outcome="ok"}': 1
          })
          assert.deepStrictEqual(await counts(exceptions), { 'run_failures_total{method="GET",outcome="error"}': 2 })
        }
      }
    ]
  }),
  {
    title: "a number as a label is the same series as its text",
    check: async (side, client) => {
      const { duration, registry } = metrics(client)
      await side.measured(
        { duration: { metric: duration, labels: { method: "GET", outcome: 200 } } },
        registry
      )(succeeds)
      const labels = () => ({ method: "GET", outcome: "200" })
      await side.measured({ duration: { metric: duration, labels } }, registry)(succeeds)
      assert.deepStrictEqual(await counts(duration), { 'run_seconds_count{method="GET",outcome="200"}': 2 })
    }
  },
  {
    title: "a summary is an observer, whole and as a child",
    check: async (side, client) => {
      const registry = new client.Registry()
      const config = { help: "h", labelNames: ["method"] as const, registers: [registry] }
      const summary = new client.Summary({ ...config, name: "run_quantiles" })
      await side.measured({ duration: { metric: summary, labels: { method: "GET" } } }, registry)(succeeds)
      await side.measured({ duration: { metric: summary.labels("GET") } }, registry)(fails)
      assert.deepStrictEqual(await counts(summary), { 'run_quantiles_count{method="GET"}': 2 })
    }
  },
  {
    title: "metrics with enableExemplars record on the series of their labels",
    check: async (side, client) => {
      const { duration, exceptions, inProgress, registry, summary } = metricsWithExemplars(client)
      const labels = { method: "GET", outcome: "any" }
      const run = side.measured(
        allWith({ duration, exceptions, inProgress }, labels, () => labels),
        registry
      )
      await run(fails)
      await run(fails)
      await side.measured({ duration: { metric: summary, labels: () => labels } }, registry)(fails)
      assert.deepStrictEqual(await counts(duration), { 'run_seconds_count{method="GET",outcome="any"}': 2 })
      assert.deepStrictEqual(await counts(exceptions), { 'run_failures_total{method="GET",outcome="any"}': 2 })
      assert.deepStrictEqual(await counts(inProgress), { 'runs_in_progress{method="GET",outcome="any"}': 0 })
      assert.deepStrictEqual(await counts(summary), { 'run_quantiles_count{method="GET",outcome="any"}': 1 })
    }
  },
  {
    title: "metrics with enableExemplars and without labels are recorded in seconds and in ones",
    check: async (side, client) => {
      const registry = new client.Registry<PromClient.OpenMetricsContentType>()
      registry.setContentType(client.Registry.OPENMETRICS_CONTENT_TYPE)
      const config = { help: "h", registers: [registry], enableExemplars: true }
      const duration = new client.Histogram({ ...config, name: "run_seconds" })
      const exceptions = new client.Counter({ ...config, name: "run_failures_total" })
      const inProgress = new client.Gauge({ ...config, name: "runs_in_progress" })
      const run = side.measured(allOf({ duration, exceptions, inProgress }), registry)
      const { warnings } = await run(fails)
      assert.deepStrictEqual(warnings, [])
      assert.deepStrictEqual(await counts(duration), { run_seconds_count: 1 })
      assert.deepStrictEqual(await counts(exceptions), { run_failures_total: 1 })
      assert.deepStrictEqual(await counts(inProgress), { runs_in_progress: 0 })
    }
  },
  {
    title: "a child of a histogram with enableExemplars is observed",
    check: async (side, client) => {
      const { duration, registry } = metricsWithExemplars(client)
      await side.measured({ duration: { metric: duration.labels("GET", "any") } }, registry)(succeeds)
      assert.deepStrictEqual(await counts(duration), { 'run_seconds_count{method="GET",outcome="any"}': 1 })
    }
  },
  {
    title: "a child of a counter with enableExemplars is refused: logged, counted as an error, and on no wrong series",
    check: async (side, client) => {
      const { exceptions, registry } = metricsWithExemplars(client)
      const run = side.measured({ exceptions: { metric: exceptions.labels("GET", "any") } }, registry)
      const { outcome } = await run(fails)
      sameOutcome(outcome, fails)
      assert.deepStrictEqual(await counts(exceptions), {})
      assert.deepStrictEqual(await errors(registry), { inc: 1 })
    }
  },
  {
    title: "labels that the metric does not have change nothing, are logged once, and are counted each time",
    check: async (side, client) => {
      const registry = new client.Registry()
      const config = { help: "h", registers: [registry] }
      const duration: Observer = new client.Histogram({ ...config, name: "run_seconds" })
      const exceptions: Counter = new client.Counter({ ...config, name: "run_failures_total" })
      const inProgress: Gauge = new client.Gauge({ ...config, name: "runs_in_progress" })
      const labels = { colour: "blue" }
      const run = side.measured(
        allWith({ duration, exceptions, inProgress }, labels, () => labels),
        registry
      )
      const warnings = await times(3, async () => {
        const ran = await run(fails)
        sameOutcome(ran.outcome, fails)
        return ran
      })
      assert.deepStrictEqual(warnings.map((warning) => warning.split(" failed: ")[0]).sort(), [
        "inc on metric run_failures_total",
        "inc on metric runs_in_progress",
        "observe on metric run_seconds"
      ])
      assert.deepStrictEqual(await errors(registry), { inc: 6, observe: 3 })
    }
  },
  {
    title: "failures are counted where the registry of that client shows them, each operation from 0",
    check: async (side, client) => {
      const registry = new client.Registry()
      const metric = new FakeObserver({ observe: throwing("observe") })
      await side.measured({ duration: { metric } }, registry)(succeeds)
      const shown = (await registry.metrics()).split("\n").filter((line) => !line.startsWith("#") && line !== "")
      assert.deepStrictEqual(shown.sort(), [
        'effect_prometheus_errors_total{operation="collect"} 0',
        'effect_prometheus_errors_total{operation="dec"} 0',
        'effect_prometheus_errors_total{operation="inc"} 0',
        'effect_prometheus_errors_total{operation="observe"} 1'
      ])
    }
  },
  {
    title: "the registry of that client exposes what was recorded, with default labels too",
    check: async (side, client) => {
      const { duration, exceptions, inProgress, registry } = metrics(client)
      registry.setDefaultLabels({ app: "shop" })
      const labels = { method: "GET", outcome: "any" }
      await side.measured(allWith({ duration, exceptions, inProgress }, labels), registry)(fails)
      await registry.getMetricsAsJSON()
      const exposed = await registry.metrics()
      assert.include(exposed, 'run_failures_total{method="GET",outcome="any",app="shop"} 1')
      assert.include(exposed, 'runs_in_progress{method="GET",outcome="any",app="shop"} 0')
      assert.match(exposed, /^run_seconds_count\{.*method="GET".*\} 1$/m)
    }
  }
]

/** Every case, for each of those measurements and with both clients. */
export const describeMeasurements = (measurements: ReadonlyArray<Measurement>): void => {
  for (const measurement of measurements) {
    describe(measurement.name, () => {
      for (const { check, title } of commonCases) it(title, () => check(measurement))

      for (const { client, name } of clients) {
        describe(`with ${name}`, () => {
          for (const { check, title } of clientCases) it(title, () => check(measurement, client))
        })
      }
    })
  }
}
