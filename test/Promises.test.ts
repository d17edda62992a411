// biome-ignore-all lint/suspicious/noThenProperty: thenables, also those that misbehave, are what is tested
import { runInNewContext } from "node:vm"
import { assert, describe, it, vi } from "@effect/vitest"
import * as PromClient from "prom-client"
import ts from "typescript"
import type { Counter, Gauge, Labels, LabelsFrom, Observer, OnlyErrors } from "../src/Metrics.js"
import type { Options, Settled, Wrapper } from "../src/Promises.js"
import * as Promises from "../src/Promises.js"
import { countExceptions, instrumented, timed, trackInProgress } from "../src/Promises.js"
import type { MetricRegistry } from "../src/Registry.js"
import type { MeasuredRun, Measurement, MetricEntry } from "./support/combinatorTests.js"
import { describeMeasurements } from "./support/combinatorTests.js"
import { counts, errors, FakeCounter, FakeGauge, FakeObserver, fakes, throwing } from "./support/metrics.js"

const failure = new RangeError("the body failed")
const value = { its: "value" }

/** A promise that is settled from outside. */
const deferred = <A>() => {
  let resolve: (value: A) => void = () => {}
  let reject: (reason: unknown) => void = () => {}
  const promise = new Promise<A>((resolveIt, rejectIt) => {
    resolve = resolveIt
    reject = rejectIt
  })
  return { promise, resolve, reject }
}

/** Takes the place of the process's own listeners while `run` runs, and until what it caused has been emitted. */
const listening = async (
  event: "warning" | "unhandledRejection",
  run: () => unknown
): Promise<ReadonlyArray<unknown>> => {
  const emitted: Array<unknown> = []
  const listener = (what: unknown) => emitted.push(what)
  const others = process.listeners(event as "warning")
  process.removeAllListeners(event)
  process.on(event, listener)
  try {
    await run()
    await new Promise(setImmediate)
    return emitted
  } finally {
    process.off(event, listener)
    for (const other of others) process.on(event as "warning", other)
  }
}

/** The seconds that `run` says have passed, by the clock of `performance`. */
const withClock = async (run: (pass: (seconds: number) => void) => unknown) => {
  vi.useFakeTimers({ toFake: ["performance"] })
  try {
    await run((seconds) => vi.advanceTimersByTime(seconds * 1e3))
  } finally {
    vi.useRealTimers()
  }
}

const settled = async (run: () => unknown): Promise<MeasuredRun> => {
  let outcome: MeasuredRun["outcome"] = { status: "rejected", reason: "it did not run" }
  const warnings = await listening("warning", async () => {
    const [settled] = await Promise.allSettled([(async () => run())()])
    outcome = settled
  })
  return { outcome, warnings: warnings.map((warning) => (warning as Error).message) }
}

const labelsOf = ({ labels }: MetricEntry<unknown>) =>
  typeof labels === "function" ? (exit: Settled<unknown>) => labels(exit.status === "fulfilled") : labels

/** The combinators, for labels of which the table knows no more than that they are labels. */
interface Loosely<Metric> {
  (metric: Metric, options: LooseOptions): Wrapper
  (metric: Metric, promise: PromiseLike<unknown>, options: LooseOptions): Promise<unknown>
}
interface LooseOptions extends Options {
  readonly labels: LabelsFrom<Settled<unknown>> | undefined
  readonly only?: OnlyErrors | undefined
}
interface LooseInstruments {
  readonly duration: { readonly metric: Observer; readonly labels: LooseOptions["labels"] } | undefined
  readonly exceptions:
    | { readonly metric: Counter; readonly labels: LooseOptions["labels"]; readonly only?: OnlyErrors | undefined }
    | undefined
  readonly inProgress: { readonly metric: Gauge; readonly labels?: Labels | undefined } | undefined
}
const loosely = {
  timed: timed as unknown as Loosely<Observer>,
  countExceptions: countExceptions as unknown as Loosely<Counter>,
  trackInProgress: trackInProgress as unknown as Loosely<Gauge>,
  instrumented: instrumented as unknown as {
    (instruments: LooseInstruments, options: Options): Wrapper
    (instruments: LooseInstruments, promise: PromiseLike<unknown>, options: Options): Promise<unknown>
  }
}

type Table = Parameters<Measurement["measured"]>[0]

const loose = ({ duration, exceptions, inProgress }: Table): LooseInstruments => ({
  duration: duration && { ...duration, labels: labelsOf(duration) },
  exceptions: exceptions && { ...exceptions, labels: labelsOf(exceptions) },
  inProgress
})

type Body = () => unknown
type Run = (body: Body) => unknown

/** A function, wrapped by the combinators one by one. */
const wrapped = (run: Run, table: Table, options: Options): Run => {
  const { duration, exceptions, inProgress } = loose(table)
  let measured = run
  if (duration !== undefined) measured = loosely.timed(duration.metric, { ...options, ...duration })(measured)
  if (exceptions !== undefined) {
    measured = loosely.countExceptions(exceptions.metric, { ...options, ...exceptions })(measured)
  }
  if (inProgress !== undefined) {
    measured = loosely.trackInProgress(inProgress.metric, { ...options, labels: inProgress.labels })(measured)
  }
  return measured
}

/** A promise, followed by the combinators one by one. */
const followed = (promise: Promise<unknown>, table: Table, options: Options): Promise<unknown> => {
  const { duration, exceptions, inProgress } = loose(table)
  let measured = promise
  if (duration !== undefined) measured = loosely.timed(duration.metric, measured, { ...options, ...duration })
  if (exceptions !== undefined) {
    measured = loosely.countExceptions(exceptions.metric, measured, { ...options, ...exceptions })
  }
  if (inProgress !== undefined) {
    measured = loosely.trackInProgress(inProgress.metric, measured, { ...options, labels: inProgress.labels })
  }
  return measured
}

const synchronous: Run = (body) => body()
const asynchronous: Run = async (body) => {
  await undefined
  return body()
}

const functions: ReadonlyArray<readonly [name: string, run: Run]> = [
  ["an async function", asynchronous],
  ["a sync function", synchronous]
]

const measurements: ReadonlyArray<Measurement> = [
  ...functions.flatMap(([name, run]) => [
    {
      name: `${name}, by instrumented`,
      measured: (table: Table, registry: MetricRegistry) => {
        const measured = loosely.instrumented(loose(table), { registry })(run)
        return (body: Body) => settled(() => measured(body))
      }
    },
    {
      name: `${name}, by the combinators one by one`,
      measured: (table: Table, registry: MetricRegistry) => {
        const measured = wrapped(run, table, { registry })
        return (body: Body) => settled(() => measured(body))
      }
    }
  ]),
  {
    name: "a method, by instrumented as a decorator",
    measured: (table, registry) => {
      class Service {
        @loosely.instrumented(loose(table), { registry })
        async run(body: Body) {
          return asynchronous(body)
        }
      }
      const service = new Service()
      return (body) => settled(() => service.run(body))
    }
  },
  {
    name: "a promise, by instrumented",
    measured: (table, registry) => {
      const instruments = loose(table)
      return (body) =>
        settled(() => loosely.instrumented(instruments, Promise.resolve(body).then(synchronous), { registry }))
    }
  }
]

describeMeasurements(measurements)

describe("a measured promise, by the combinators one by one", () => {
  it("is observed, counted and in progress until it is settled", async () => {
    const { duration, exceptions, inProgress } = fakes()
    const table = {
      duration: { metric: duration },
      exceptions: { metric: exceptions },
      inProgress: { metric: inProgress }
    }
    const { promise, reject } = deferred()
    const measured = followed(promise, table, {})
    assert.strictEqual(inProgress.value, 1)
    reject(failure)
    const [outcome] = await Promise.allSettled([measured])
    assert.strictEqual(outcome.status === "rejected" && outcome.reason, failure)
    assert.strictEqual(duration.observed.length, 1)
    assert.strictEqual(exceptions.counted, 1)
    assert.deepStrictEqual(inProgress.history, [1, 0])
  })
})

/** Each of them with a metric of its own, by name. */
const wrappers: ReadonlyArray<{ readonly name: string; readonly make: () => Wrapper }> = [
  { name: "timed", make: () => timed(new FakeObserver()) },
  { name: "countExceptions", make: () => countExceptions(new FakeCounter()) },
  { name: "trackInProgress", make: () => trackInProgress(new FakeGauge()) },
  { name: "instrumented", make: () => instrumented(fakes()) }
]

for (const { make, name } of wrappers) {
  describe(`a function measured by ${name}`, () => {
    it("gives the same object, at once", () => {
      assert.strictEqual(make()(() => value)(), value)
    })

    it("throws the same error, at once", () => {
      const measured = make()(() => {
        throw failure
      })
      let thrown: unknown
      try {
        measured()
      } catch (error) {
        thrown = error
      }
      assert.strictEqual(thrown, failure)
    })

    it("resolves to the same object", async () => {
      assert.strictEqual(await make()(async () => value)(), value)
    })

    it("rejects with the same error", async () => {
      const [outcome] = await Promise.allSettled([make()(() => Promise.reject(failure))()])
      assert.strictEqual(outcome.status === "rejected" && outcome.reason, failure)
    })

    it("gets the same this and the same arguments", () => {
      const service = {
        run: make()(function (this: unknown, ...args: ReadonlyArray<unknown>) {
          return [this, ...args]
        })
      }
      assert.deepStrictEqual(service.run(1, undefined, value), [service, 1, undefined, value])
    })

    it("keeps its name, its length and what else it carries", () => {
      const key = Symbol("key")
      const original = Object.assign(function load(_id: string, _options: object) {}, { timeout: 10, [key]: value })
      Object.defineProperty(original, "computed", { get: () => "computed", enumerable: false })
      const measured = make()(original)
      assert.notStrictEqual(measured, original)
      assert.strictEqual(measured.name, "load")
      assert.strictEqual(measured.length, 2)
      assert.strictEqual(measured.timeout, 10)
      assert.strictEqual(measured[key], value)
      assert.strictEqual((measured as typeof original & { computed?: string }).computed, "computed")
      assert.deepStrictEqual(Object.keys(measured), ["timeout"])
    })

    it("may be of any kind", () => {
      const sloppy = new Function("a", "return a") as (a: number) => number
      assert.strictEqual(make()(sloppy)(1), 1)
      assert.strictEqual(make()(Object.freeze((a: number) => a))(1), 1)
      assert.strictEqual(make()(((a: number) => a).bind(null, 2))(), 2)
      assert.deepStrictEqual(
        [
          ...make()(function* () {
            yield 3
          })()
        ],
        [3]
      )
    })

    it("may be wrapped where a mapValues passes the key and the object too", () => {
      const functions = { one: () => 1, two: () => 2 }
      const wrap = make() as (fn: () => number, key: string, from: object) => () => number
      const measured = Object.entries(functions).map(([key, fn]) => wrap(fn, key, functions)())
      assert.deepStrictEqual(measured, [1, 2])
    })

    it("may be wrapped where map passes the index and the array too", () => {
      assert.deepStrictEqual(
        [() => 1, () => 2].map<() => number>(make()).map((measured) => measured()),
        [1, 2]
      )
    })

    it("is refused when it is no function", () => {
      assert.throws(() => make()(value as never), TypeError)
    })
  })
}

describe("a function", () => {
  it("that is sync returns no promise, for each kind of result", () => {
    const { duration, inProgress } = fakes()
    const measured = instrumented({ duration, inProgress })((result: unknown) => result)
    for (const result of [undefined, null, 0, "text", value, [], () => {}, { then: "not a function" }]) {
      assert.strictEqual(measured(result), result)
      assert.strictEqual(inProgress.value, 0)
    }
    assert.strictEqual(duration.observed.length, 8)
  })

  it("that gives an object whose then cannot be read gives that object", () => {
    const gauge = new FakeGauge()
    const unreadable = Object.defineProperty({}, "then", { get: throwing("then") })
    assert.strictEqual(trackInProgress(gauge)(() => unreadable)(), unreadable)
    assert.deepStrictEqual(gauge.history, [1, 0])
  })

  it("is in progress before its first await, and no more when its promise has settled", async () => {
    const gauge = new FakeGauge()
    const { promise, resolve } = deferred<object>()
    const seen: Array<number> = []
    const running = trackInProgress(gauge)(async () => {
      seen.push(gauge.value)
      const result = await promise
      seen.push(gauge.value)
      return result
    })()
    assert.deepStrictEqual(seen, [1])
    assert.strictEqual(gauge.value, 1)
    resolve(value)
    await running
    assert.deepStrictEqual(seen, [1, 1])
    assert.strictEqual(gauge.value, 0)
  })

  it("that calls itself is in progress as often as it runs", () => {
    const gauge = new FakeGauge()
    const countdown = trackInProgress(gauge)((from: number): number => (from === 0 ? gauge.value : countdown(from - 1)))
    assert.strictEqual(countdown(2), 3)
    assert.deepStrictEqual(gauge.history, [1, 2, 3, 2, 1, 0])
  })

  it("is timed in seconds, from its call until its promise has settled", () =>
    withClock(async (pass) => {
      const observer = new FakeObserver()
      const first = deferred<void>()
      const running = timed(observer)(() => first.promise)()
      pass(2.5)
      first.resolve()
      await running
      pass(60)
      assert.deepStrictEqual(observer.observed, [2.5])
    }))

  it("that is sync is timed in seconds, whether it returns or throws", () =>
    withClock((pass) => {
      const observer = new FakeObserver()
      timed(observer)(() => pass(1.5))()
      assert.throws(
        timed(observer)(() => {
          pass(0.25)
          throw failure
        }),
        RangeError
      )
      assert.deepStrictEqual(observer.observed, [1.5, 0.25])
    }))

  it("is not timed below 0 where a test replaces the clock meanwhile", () => {
    const observer = new FakeObserver()
    timed(observer)(() => {
      vi.useFakeTimers({ toFake: ["performance"] })
    })()
    vi.useRealTimers()
    assert.deepStrictEqual(observer.observed, [0])
  })

  it("that gives an iterator which is no generator is over when it has given it", () => {
    const gauge = new FakeGauge()
    const iterator = trackInProgress(gauge)(() => [1, 2].values())()
    assert.deepStrictEqual(gauge.history, [1, 0])
    assert.deepStrictEqual([...iterator], [1, 2])
  })

  it("with an error of another class is not counted", async () => {
    const counter = new FakeCounter()
    const measured = countExceptions(counter, { only: TypeError })(() => Promise.reject(failure))
    await Promise.allSettled([measured(), measured()])
    assert.strictEqual(counter.counted, 0)
  })

  it("is measured by each of the combinators around it, once", async () => {
    const { duration, exceptions, inProgress } = fakes()
    const measured = timed(duration)(
      countExceptions(exceptions)(trackInProgress(inProgress)(async () => inProgress.value))
    )
    assert.strictEqual(await measured(), 1)
    assert.strictEqual(duration.observed.length, 1)
    assert.strictEqual(exceptions.counted, 0)
    assert.deepStrictEqual(inProgress.history, [1, 0])
  })
})

describe("a decorator of methods", () => {
  const registers = () => [new PromClient.Registry()]
  const seconds = (registers: Array<PromClient.Registry>) =>
    new PromClient.Histogram({ name: "run_seconds", help: "h", labelNames: ["method"] as const, registers })

  it("measures each call, and keeps this, the arguments, the name and the class", async () => {
    const { duration, exceptions, inProgress } = fakes()
    class Shop {
      readonly #stock = 5

      @timed(duration)
      @countExceptions(exceptions)
      @trackInProgress(inProgress)
      async order(name: string, count: number) {
        await undefined
        if (count > this.#stock) throw failure
        return `${count} ${name}`
      }
    }
    const shop = new Shop()
    assert.strictEqual(await shop.order("pears", 2), "2 pears")
    const [outcome] = await Promise.allSettled([shop.order("pears", 6)])
    assert.strictEqual(outcome.status === "rejected" && outcome.reason, failure)
    assert.strictEqual(shop.order.name, "order")
    assert.strictEqual(shop.order.length, 2)
    assert.deepStrictEqual(Object.getOwnPropertyNames(Shop.prototype), ["constructor", "order"])
    assert.strictEqual(duration.observed.length, 2)
    assert.strictEqual(exceptions.counted, 1)
    assert.deepStrictEqual(inProgress.history, [1, 0, 1, 0])
  })

  it("serves sync, static, private and inherited methods, and those named by a symbol", () => {
    const { duration } = fakes()
    const key = Symbol("key")
    class Base {
      constructor(readonly base = 1) {}
      @timed(duration)
      inherited() {
        return this.base
      }
    }
    class Service extends Base {
      @timed(duration)
      static create() {
        return new this(2)
      }
      @timed(duration)
      [key]() {
        return this.#hidden() + super.inherited()
      }
      @timed(duration)
      #hidden() {
        return this.base
      }
    }
    const service = Service.create()
    assert.instanceOf(service, Service)
    assert.strictEqual(service[key](), 4)
    assert.strictEqual(service.inherited(), 2)
    assert.strictEqual(duration.observed.length, 5)
  })

  it("takes labels", async () => {
    const histogram = seconds(registers())
    class Service {
      @timed(histogram, { labels: { method: "load" } })
      load() {}
    }
    new Service().load()
    assert.deepStrictEqual(await counts(histogram), { 'run_seconds_count{method="load"}': 1 })
  })

  it("refuses a getter", () => {
    const define = () =>
      class {
        @timed(new FakeObserver())
        get size() {
          return 1
        }
      }
    assert.throws(define, TypeError, "getter size")
  })

  for (const kind of ["class", "getter", "setter", "field", "accessor"]) {
    it(`refuses what is a ${kind}`, () => {
      for (const { make } of wrappers) {
        const decorate = make() as unknown as (target: unknown, context: object) => unknown
        assert.throws(
          () => decorate(kind === "field" ? undefined : () => {}, { kind, name: "it" }),
          TypeError,
          `${kind} it`
        )
      }
    })
  }
})

describe("a decorator of methods under experimentalDecorators", () => {
  /** Compiles it as TypeScript does with that option, and runs it. */
  const compiled = (source: string, decorators: { readonly [name: string]: Wrapper }) => {
    const { outputText } = ts.transpileModule(source, {
      compilerOptions: {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.CommonJS,
        experimentalDecorators: true
      }
    })
    assert.include(outputText, "__decorate")
    const exported: { Shop?: new () => { [method: string]: (...args: ReadonlyArray<unknown>) => unknown } } = {}
    new Function("exports", ...Object.keys(decorators), outputText)(exported, ...Object.values(decorators))
    assert.isDefined(exported.Shop)
    return exported.Shop as NonNullable<typeof exported.Shop>
  }

  it("measures each call, and keeps this, the arguments, the name and the class", async () => {
    const { duration, exceptions, inProgress } = fakes()
    const Shop = compiled(
      `export class Shop {
         stock = 5
         @timed @countExceptions @trackInProgress
         async order(name, count) {
           await undefined
           if (count > this.stock) throw new RangeError("sold out")
           return count + " " + name
         }
       }`,
      {
        timed: timed(duration),
        countExceptions: countExceptions(exceptions),
        trackInProgress: trackInProgress(inProgress)
      }
    )
    const shop = new Shop()
    assert.strictEqual(await shop["order"]?.("pears", 2), "2 pears")
    const [outcome] = await Promise.allSettled([shop["order"]?.("pears", 6)])
    assert.strictEqual(outcome.status, "rejected")
    assert.strictEqual(shop["order"]?.name, "order")
    assert.strictEqual(shop["order"]?.length, 2)
    assert.isFalse(Object.getOwnPropertyDescriptor(Shop.prototype, "order")?.enumerable)
    assert.isTrue(Object.getOwnPropertyDescriptor(Shop.prototype, "order")?.writable)
    assert.strictEqual(duration.observed.length, 2)
    assert.strictEqual(exceptions.counted, 1)
    assert.deepStrictEqual(inProgress.history, [1, 0, 1, 0])
  })

  it("serves static methods, whose target is a function, and those named by a symbol", () => {
    const { duration } = fakes()
    const Shop = compiled(
      `export class Shop {
         @measured static open() { return this }
         @measured [Symbol.iterator]() { return [1][Symbol.iterator]() }
       }`,
      { measured: timed(duration) }
    )
    assert.strictEqual((Shop as unknown as { open: () => unknown }).open(), Shop)
    assert.deepStrictEqual([...(new Shop() as unknown as Iterable<number>)], [1])
    assert.strictEqual(duration.observed.length, 2)
  })

  for (const { member, what } of [
    { member: "get size() { return 1 }", what: "a getter" },
    { member: "set size(to) {}", what: "a setter" },
    { member: "size = 1", what: "a property" },
    { member: "static size = 1", what: "a static property" }
  ]) {
    it(`refuses ${what}`, () => {
      const define = () =>
        compiled(`export class Shop { @measured ${member} }`, { measured: timed(new FakeObserver()) })
      assert.throws(define, TypeError, "size")
    })
  }
})

describe("a promise", () => {
  it("is followed by one of its own, with the same value", async () => {
    const promise = Promise.resolve(value)
    const measured = timed(new FakeObserver(), promise)
    assert.notStrictEqual(measured, promise)
    assert.strictEqual(await measured, value)
  })

  it("is timed in seconds, from now until it is settled", () =>
    withClock(async (pass) => {
      const observer = new FakeObserver()
      const { promise, resolve } = deferred<object>()
      pass(60)
      const measured = timed(observer, promise)
      pass(2.5)
      resolve(value)
      await measured
      pass(60)
      assert.deepStrictEqual(observer.observed, [2.5])
    }))

  it("has its then called exactly once, by each of the combinators", async () => {
    const { duration, exceptions, inProgress } = fakes()
    for (const measure of [
      (promise: Promise<object>) => timed(duration, promise),
      (promise: Promise<object>) => countExceptions(exceptions, promise),
      (promise: Promise<object>) => trackInProgress(inProgress, promise),
      (promise: Promise<object>) => instrumented({ duration, exceptions, inProgress }, promise),
      (promise: Promise<object>) => timed(duration)(() => promise)()
    ]) {
      const promise = Promise.resolve(value)
      const then = vi.spyOn(promise, "then")
      assert.strictEqual(await measure(promise), value)
      assert.strictEqual(then.mock.calls.length, 1)
    }
  })

  it("keeps its class", async () => {
    class Query<A> extends Promise<A> {
      readonly rows = 3
    }
    const measured = timed(new FakeObserver(), Query.resolve(value))
    assert.instanceOf(measured, Query)
    assert.strictEqual((measured as Query<object>).rows, 3)
    const fromFunction = timed(new FakeObserver())(() => Query.resolve(value))()
    assert.instanceOf(fromFunction, Query)
    assert.strictEqual(await measured, await fromFunction)
  })

  it("of another realm is followed too", async () => {
    const { inProgress } = fakes()
    const promise = runInNewContext("Promise.resolve(1)") as Promise<number>
    assert.isFalse(promise instanceof Promise)
    assert.strictEqual(await trackInProgress(inProgress, promise), 1)
    assert.deepStrictEqual(inProgress.history, [1, 0])
  })

  it("that never settles stays in progress", async () => {
    const { duration, inProgress } = fakes()
    void instrumented({ duration, inProgress }, new Promise(() => {}))
    await new Promise(setImmediate)
    assert.strictEqual(inProgress.value, 1)
    assert.deepStrictEqual(duration.observed, [])
  })

  type Then = NonNullable<Parameters<Promise<object>["then"]>[0]>

  for (const { then, title } of [
    {
      title: "throws",
      then: () => {
        throw failure
      }
    },
    {
      title: "answers twice",
      then: (resolve: Then) => {
        resolve(value)
        resolve(value)
      }
    },
    {
      title: "answers and then throws",
      then: (resolve: Then) => {
        resolve(value)
        throw failure
      }
    }
  ]) {
    it(`of a class whose then ${title} is measured once, and is not in progress any more`, async () => {
      class Broken extends Promise<object> {
        override then(resolve: unknown): never {
          return then(resolve as Then) as never
        }
      }
      for (const measure of [
        (inProgress: FakeGauge, duration: FakeObserver) => instrumented({ duration, inProgress }, new Broken(() => {})),
        (inProgress: FakeGauge, duration: FakeObserver) =>
          instrumented({ duration, inProgress })(() => new Broken(() => {}))()
      ]) {
        const { duration, inProgress } = fakes()
        const measured = (async () => ({ promise: measure(inProgress, duration) }))()
        await Promise.allSettled([measured.then(({ promise }) => promise)])
        assert.deepStrictEqual(inProgress.history, [1, 0])
        assert.strictEqual(duration.observed.length, 1)
      }
    })
  }
})

describe("an unhandled rejection", () => {
  const { duration, exceptions, inProgress } = fakes()
  const rejected: { readonly [title: string]: () => unknown } = {
    "of a promise": () => timed(duration, Promise.reject(failure)),
    "of a promise that is rejected later": () => {
      const { promise, reject } = deferred()
      void trackInProgress(inProgress, promise)
      reject(failure)
    },
    "of a promise, measured three times over": () =>
      timed(duration, countExceptions(exceptions, trackInProgress(inProgress, Promise.reject(failure)))),
    "of an async function": () => timed(duration)(async () => Promise.reject(failure))(),
    "of an async function, measured by instrumented": () =>
      instrumented({ duration, exceptions, inProgress })(() => Promise.reject(failure))(),
    "of a thenable": () =>
      timed(duration, {
        then: (_: unknown, reject?: ((reason: unknown) => unknown) | null) => reject?.(failure) as never
      })
  }

  for (const [title, reject] of Object.entries(rejected)) {
    it(`${title} stays visible, exactly once`, async () => {
      assert.deepStrictEqual(await listening("unhandledRejection", () => void reject()), [failure])
    })
  }

  it("is one that is handled, if the promise that comes back is", async () => {
    const promise = Promise.reject(failure)
    assert.deepStrictEqual(
      await listening("unhandledRejection", () => Promise.allSettled([timed(duration, promise)])),
      []
    )
  })
})

describe("a thenable", () => {
  type Then = (resolve: (value: unknown) => void, reject: (reason: unknown) => void) => unknown

  /** Each with what it must come to: a value or an error. */
  const thenables: ReadonlyArray<{ readonly title: string; readonly then: Then; readonly fails?: true }> = [
    { title: "that answers at once", then: (resolve) => resolve(value) },
    { title: "that answers later", then: (resolve) => queueMicrotask(() => resolve(value)) },
    { title: "that gives itself back", then: (resolve) => resolve(Promise.resolve(value)) },
    { title: "that fails", then: (_, reject) => reject(failure), fails: true },
    {
      title: "that throws",
      then: () => {
        throw failure
      },
      fails: true
    },
    {
      title: "that answers twice",
      then: (resolve) => {
        resolve(value)
        resolve("again")
      }
    },
    {
      title: "that answers and then fails",
      then: (resolve, reject) => {
        resolve(value)
        reject(failure)
      }
    },
    {
      title: "that fails and then answers",
      then: (resolve, reject) => {
        reject(failure)
        resolve(value)
      },
      fails: true
    },
    {
      title: "that answers and then throws",
      then: (resolve) => {
        resolve(value)
        throw failure
      }
    }
  ]

  for (const { fails, then, title } of thenables) {
    for (const how of ["given", "returned by a function"] as const) {
      it(`${title} is measured once when it is ${how}, and its then is called once`, async () => {
        const { duration, exceptions, inProgress } = fakes()
        const spy = vi.fn(then)
        const thenable = { then: spy } as unknown as PromiseLike<unknown>
        const measured =
          how === "given"
            ? instrumented({ duration, exceptions, inProgress }, thenable)
            : instrumented({ duration, exceptions, inProgress })(() => thenable)()
        if (how === "given") assert.instanceOf(measured, Promise)
        else assert.strictEqual(measured, thenable)
        const [outcome] = await Promise.allSettled([measured])
        assert.deepStrictEqual(
          outcome,
          fails ? { status: "rejected", reason: failure } : { status: "fulfilled", value }
        )
        await new Promise(setImmediate)
        assert.strictEqual(spy.mock.calls.length, 1)
        assert.strictEqual(duration.observed.length, 1)
        assert.strictEqual(exceptions.counted, fails ? 1 : 0)
        assert.deepStrictEqual(inProgress.history, [1, 0])
      })
    }
  }
})

describe("labels", () => {
  it("that are constant are copied when the combinator is made", async () => {
    const registers = [new PromClient.Registry()]
    const seconds = new PromClient.Histogram({
      name: "run_seconds",
      help: "h",
      labelNames: ["method"] as const,
      registers
    })
    const labels = { method: "GET" }
    const measured = timed(seconds, { labels })(() => value)
    labels.method = "POST"
    measured()
    assert.deepStrictEqual(await counts(seconds), { 'run_seconds_count{method="GET"}': 1 })
  })

  it("are worked out from the settled result: its value or its reason", async () => {
    const registers = [new PromClient.Registry()]
    const seconds = new PromClient.Histogram({
      name: "run_seconds",
      help: "h",
      labelNames: ["result"] as const,
      registers
    })
    const labels = (exit: Settled<unknown>) => ({
      result: exit.status === "fulfilled" ? `value ${exit.value}` : `reason ${exit.reason}`
    })
    const measured = timed(seconds, { labels })((result: () => unknown) => result())
    measured(() => 1)
    await measured(async () => 2)
    await Promise.allSettled([measured(() => Promise.reject("no"))])
    assert.throws(() =>
      measured(() => {
        throw failure
      })
    )
    await timed(seconds, Promise.resolve(3), { labels: (exit) => ({ result: `${exit.status} promise` }) })
    assert.deepStrictEqual(await counts(seconds), {
      'run_seconds_count{result="value 1"}': 1,
      'run_seconds_count{result="value 2"}': 1,
      'run_seconds_count{result="reason no"}': 1,
      'run_seconds_count{result="reason RangeError: the body failed"}': 1,
      'run_seconds_count{result="fulfilled promise"}': 1
    })
  })
})

describe("a metric that throws", () => {
  it("is a process warning of its own name, once for all ways to use it", async () => {
    const metric = new FakeObserver({ observe: throwing("observe") })
    const warnings = await listening("warning", async () => {
      timed(metric)(() => value)()
      timed(metric)(() => value)()
      await timed(metric, Promise.resolve(value))
      instrumented({ duration: metric })(() => value)()
    })
    assert.strictEqual(warnings.length, 1)
    const [warning] = warnings as ReadonlyArray<Error>
    assert.strictEqual(warning?.name, "EffectPrometheusWarning")
    assert.include(warning?.message, "observe on metric fake_seconds failed: observe")
    assert.strictEqual(metric.observed.length, 4)
  })

  it("is counted on the registry that is given, for a function and for a promise", async () => {
    const registry = new PromClient.Registry()
    const metric = new FakeObserver({ observe: throwing("observe") })
    await listening("warning", async () => {
      timed(metric, { registry })(() => value)()
      await timed(metric, Promise.resolve(value), { registry })
      instrumented({ duration: metric }, { registry })(() => value)()
      await instrumented({ duration: metric }, Promise.resolve(value), { registry })
    })
    assert.deepStrictEqual(await errors(registry), { observe: 4 })
  })

  it("is counted on prom-client's global registry by default", async () => {
    PromClient.register.removeSingleMetric("effect_prometheus_errors_total")
    await listening("warning", () => timed(new FakeObserver({ observe: throwing("observe") }))(() => value)())
    assert.deepStrictEqual(await errors(PromClient.register), { observe: 1 })
  })
})

describe("a value that cannot do what is asked of it", () => {
  it("is refused if a function is given beside the metric, or if only is invalid", () => {
    const { duration, exceptions } = fakes()
    assert.throws(() => timed(duration, (() => 1) as never), TypeError, "timed(metric)(fn)")
    assert.throws(() => countExceptions(exceptions, { only: "TypeError" as never }), RangeError, "only must be")
    assert.throws(() => countExceptions(exceptions, { only: { tags: "x" } as never }), RangeError, "only must be")
  })

  it("is refused where it is given, with what was expected", () => {
    const notAMetric = {} as FakeObserver & FakeCounter & FakeGauge
    assert.throws(() => Promises.timed(notAMetric), TypeError, "observe()")
    assert.throws(() => Promises.countExceptions(notAMetric), TypeError, "inc()")
    assert.throws(() => Promises.trackInProgress(notAMetric), TypeError, "inc()")
    assert.throws(() => Promises.instrumented({ duration: notAMetric }), TypeError, "observe()")
  })
})
