import * as PrometheusIo from "@prometheus-io/client"
import * as PromClient from "prom-client"
import { describe, expect, test } from "tstyche"
import type { Settled, Wrapper } from "../../src/Promises.js"
import { countExceptions, instrumented, timed, trackInProgress } from "../../src/Promises.js"

const plain = { name: "plain", help: "h" }
const labelled = { ...plain, labelNames: ["method", "status"] as const }

const seconds = new PromClient.Histogram(plain)
const secondsBy = new PromClient.Histogram(labelled)
const total = new PromClient.Counter(plain)
const totalBy = new PromClient.Counter(labelled)
const running = new PromClient.Gauge(plain)
const runningBy = new PromClient.Gauge(labelled)
const newSeconds = new PrometheusIo.Histogram(plain)
const newSecondsBy = new PrometheusIo.Histogram(labelled)
const newTotalBy = new PrometheusIo.Counter(labelled)
const newRunningBy = new PrometheusIo.Gauge(labelled)
const registry = new PromClient.Registry()
const newRegistry = new PrometheusIo.Registry()
const openMetricsRegistry = new PromClient.Registry<PromClient.OpenMetricsContentType>()

declare const fake: { observe(seconds: number): void; inc(): void; dec(): void }

const labels = { method: "GET", status: 200 }

interface RequestLabels {
  readonly method: string
  readonly status: number
}
declare const requestLabels: RequestLabels

interface User {
  readonly id: string
}
declare const load: (id: string, options?: { readonly fresh: boolean }) => Promise<User>
declare const promise: Promise<User>
declare const thenable: PromiseLike<User>

describe("a function keeps its type", () => {
  test("sync and async", () => {
    expect(timed(seconds)(load)).type.toBe<typeof load>()
    expect(countExceptions(total)(load)).type.toBe<typeof load>()
    expect(trackInProgress(running)(load)).type.toBe<typeof load>()
    expect(instrumented({ duration: seconds, exceptions: total, inProgress: running })(load)).type.toBe<typeof load>()
    expect(timed(seconds)((a: number) => a)).type.toBe<(a: number) => number>()
    expect(timed(seconds)(() => {})).type.toBe<() => void>()
  })

  test("generic", () => {
    const first = <A>(list: ReadonlyArray<A>): A | undefined => list[0]
    const loadAll = async <A>(list: Iterable<Promise<A>>): Promise<ReadonlyArray<A>> => Promise.all(list)
    const measuredFirst = timed(seconds)(first)
    const measuredLoadAll = instrumented({ duration: seconds })(loadAll)
    expect(measuredFirst).type.toBe<typeof first>()
    expect(measuredFirst([1, 2])).type.toBe<number | undefined>()
    expect(measuredLoadAll).type.toBe<typeof loadAll>()
  })

  test("overloaded, with a this, an assertion or properties of its own", () => {
    const overloaded = timed(seconds)({} as { (a: string): string; (a: number): number })
    expect(overloaded("a")).type.toBe<string>()
    expect(overloaded(1)).type.toBe<number>()
    const withThis = function (this: User, suffix: string) {
      return this.id + suffix
    }
    expect(timed(seconds)(withThis)).type.toBe<(this: User, suffix: string) => string>()
    const isText = (value: unknown): value is string => typeof value === "string"
    expect(timed(seconds)(isText)).type.toBe<(value: unknown) => value is string>()
    const withProperties = Object.assign(load, { timeout: 10 })
    expect(timed(seconds)(withProperties).timeout).type.toBe<number>()
  })

  test("a generator function, an async one and one whose promise has methods", () => {
    const pages = async function* (from: number): AsyncGenerator<User, string, boolean> {
      return (yield { id: String(from) }) ? "end" : "left"
    }
    expect(timed(seconds)(pages)).type.toBe<typeof pages>()
    const cancellable = () => Object.assign(promise, { cancel: () => {} })
    expect(timed(seconds)(cancellable)().cancel).type.toBe<() => void>()
  })

  test("when it is wrapped twice", () => {
    expect(timed(seconds)(trackInProgress(running)(load))).type.toBe<typeof load>()
  })

  test("under a stored wrapper", () => {
    const measured = timed(secondsBy, { labels })
    expect(measured).type.toBe<Wrapper>()
    expect(measured(load)).type.toBe<typeof load>()
  })

  test("and nothing else is taken for one", () => {
    // @ts-expect-error: Argument of type 'string' is not assignable to parameter of type '(...args: never) => unknown'
    timed(seconds)("text")
    // @ts-expect-error: Argument of type 'Promise<User>' is not assignable to parameter of type
    timed(seconds)(promise)
    expect(timed(seconds)).type.not.toBeCallableWith(class {})
  })
})

describe("a method keeps its type", () => {
  test("under the standard decorators", () => {
    class Users {
      readonly users: ReadonlyMap<string, User> = new Map()

      @timed(seconds)
      @countExceptions(total, { only: TypeError })
      @trackInProgress(runningBy, { labels })
      @instrumented({ duration: seconds })
      async load(id: string) {
        return this.users.get(id)
      }

      @timed(seconds)
      generic<A>(this: Users, value: A): readonly [A, number] {
        return [value, this.users.size]
      }

      @timed(secondsBy, { labels: (exit) => ({ method: "GET", status: exit.status }) })
      static create() {
        return new Users()
      }
    }
    expect(new Users().load("1")).type.toBe<Promise<User | undefined>>()
    expect(new Users().generic("a")).type.toBe<readonly [string, number]>()
    expect(Users.create()).type.toBe<Users>()
  })

  test("as a method of a class only, if the compiler can detect it", () => {
    class Users {
      @(expect(timed(seconds)).type.toBeApplicable)
      load() {}

      @(expect(timed(seconds)).type.not.toBeApplicable)
      readonly size = 1
    }

    @(expect(timed(seconds)).type.not.toBeApplicable)
    class Whole {}
    expect<Users>().type.not.toBe<Whole>()
  })

  test("under experimentalDecorators, which call with the target, the key and the descriptor", () => {
    const descriptor: TypedPropertyDescriptor<typeof load> = { value: load }
    expect(timed(seconds)({}, "load", descriptor)).type.toBe<TypedPropertyDescriptor<typeof load>>()
    expect(timed(seconds)(class {}, Symbol("load"), descriptor)).type.toBe<TypedPropertyDescriptor<typeof load>>()
    const generic: TypedPropertyDescriptor<<A>(value: A) => A> = {}
    expect(timed(seconds)({}, "generic", generic)).type.toBe<TypedPropertyDescriptor<<A>(value: A) => A>>()
    expect(timed(seconds)).type.not.toBeCallableWith({}, "size", { get: () => 1 } as TypedPropertyDescriptor<number>)
    expect(timed(seconds)).type.not.toBeCallableWith({}, "size")
  })
})

describe("a promise keeps what it is of", () => {
  test("with a metric alone", () => {
    expect(timed(seconds, promise)).type.toBe<Promise<User>>()
    expect(countExceptions(total, promise)).type.toBe<Promise<User>>()
    expect(trackInProgress(running, promise)).type.toBe<Promise<User>>()
    expect(instrumented({ duration: seconds, exceptions: total }, promise)).type.toBe<Promise<User>>()
  })

  test("with options", () => {
    expect(timed(secondsBy, promise, { labels })).type.toBe<Promise<User>>()
    expect(timed(secondsBy, promise, { labels: () => labels, registry })).type.toBe<Promise<User>>()
    expect(countExceptions(totalBy, promise, { labels, only: [TypeError] })).type.toBe<Promise<User>>()
    expect(trackInProgress(runningBy, promise, { labels })).type.toBe<Promise<User>>()
    expect(
      instrumented({ duration: { metric: secondsBy, labels }, inProgress: running }, promise, { registry })
    ).type.toBe<Promise<User>>()
  })

  test("and a thenable becomes a promise", () => {
    expect(timed(seconds, thenable)).type.toBe<Promise<User>>()
    expect(instrumented({ inProgress: running }, thenable)).type.toBe<Promise<User>>()
  })

  test("in a generic function", () => {
    const measured = <A>(promise: Promise<A>): Promise<A> => timed(secondsBy, promise, { labels })
    expect(measured(promise)).type.toBe<Promise<User>>()
  })
})

describe("labels", () => {
  test("are accepted of either client, of a fake, of an interface, and of what the compiler cannot know", () => {
    expect(timed(newSecondsBy, { labels })(load)).type.toBe<typeof load>()
    expect(countExceptions(newTotalBy, { labels: () => labels })(load)).type.toBe<typeof load>()
    expect(trackInProgress(newRunningBy, { labels: requestLabels })(load)).type.toBe<typeof load>()
    expect(timed(newSecondsBy.labels("GET", "200"))(load)).type.toBe<typeof load>()
    expect(instrumented({ duration: fake, exceptions: fake, inProgress: fake })(load)).type.toBe<typeof load>()
    expect(timed(new PromClient.Histogram<string>(plain), { labels: { anything: 1 } })(load)).type.toBe<typeof load>()
  })

  test("of an interface are accepted in an entry of instrumented", () => {
    expect(instrumented).type.toBeCallableWith({ duration: { metric: secondsBy, labels: requestLabels } })
    expect(instrumented).type.toBeCallableWith(
      { duration: { metric: secondsBy, labels: () => requestLabels } },
      promise
    )
  })

  test("may come from the settled result, of which a promise knows the type", () => {
    timed(secondsBy, promise, {
      labels: (exit) => {
        expect(exit).type.toBe<Settled<User>>()
        return labels
      }
    })
    timed(secondsBy, {
      labels: (exit) => {
        expect(exit).type.toBe<Settled<unknown>>()
        return labels
      }
    })
    instrumented(
      {
        duration: {
          metric: secondsBy,
          labels: (exit) => {
            expect(exit).type.toBe<Settled<unknown>>()
            return labels
          }
        }
      },
      { registry }
    )
  })

  test("are rejected with a name missing, wrong or too many", () => {
    // @ts-expect-error: Property 'status' is missing in type
    trackInProgress(runningBy, promise, { labels: { method: "GET" } })
    // @ts-expect-error: 'metod' does not exist in type
    trackInProgress(runningBy, promise, { labels: { metod: "GET", status: 200 } })
    // @ts-expect-error: is not assignable to type 'never'
    timed(secondsBy, promise, { labels: () => ({ method: "GET", status: 200, path: "/" }) })
    // @ts-expect-error: Type 'undefined' is not assignable to type 'string | number'
    trackInProgress(newRunningBy, promise, { labels: { method: undefined, status: 200 } })
    // @ts-expect-error: is not assignable to type 'never'
    instrumented({ duration: { metric: secondsBy, labels: { method: "GET", status: 200, path: "/" } } })
    // @ts-expect-error: is missing in type
    instrumented({ duration: { metric: secondsBy, labels: { method: "GET" } } }, promise)
    expect(timed).type.not.toBeCallableWith(secondsBy, { labels: { method: "GET" } })
    expect(timed).type.not.toBeCallableWith(secondsBy, { labels: () => ({ method: "GET" }) })
    expect(timed).type.not.toBeCallableWith(secondsBy, { labels: { metod: "GET", status: 200 } })
    expect(countExceptions).type.not.toBeCallableWith(totalBy, { labels: { method: "GET", status: 200, path: "/" } })
  })

  test("are rejected with a child or a metric without names", () => {
    expect(timed).type.not.toBeCallableWith(secondsBy.labels("GET", "200"), { labels })
    expect(timed).type.not.toBeCallableWith(newSeconds, { labels })
    expect(trackInProgress).type.not.toBeCallableWith(fake, { labels })
    expect(instrumented).type.not.toBeCallableWith({ duration: { metric: newSeconds, labels } })
  })

  test("are asked for where the metric has names", () => {
    expect(timed).type.not.toBeCallableWith(secondsBy)
    expect(timed).type.not.toBeCallableWith(secondsBy, promise)
    expect(countExceptions).type.not.toBeCallableWith(newTotalBy, { only: TypeError })
    expect(trackInProgress).type.not.toBeCallableWith(runningBy, { registry })
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    instrumented({ duration: secondsBy })
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    instrumented({ inProgress: { metric: runningBy } }, promise)
  })

  test("cannot come from the result for what is in progress", () => {
    expect(trackInProgress).type.not.toBeCallableWith(runningBy, { labels: () => labels })
    expect(trackInProgress).type.not.toBeCallableWith(runningBy, promise, { labels: () => labels })
    // @ts-expect-error: is not assignable to type
    instrumented({ inProgress: { metric: runningBy, labels: () => labels } })
  })
})

describe("metrics and options", () => {
  test("that cannot do what is asked of them are rejected", () => {
    // @ts-expect-error: Property 'observe' is missing in type 'Counter<
    timed(total, promise)
    // @ts-expect-error: Property 'dec' is missing in type 'Counter<
    trackInProgress(total, promise)
    expect(timed).type.not.toBeCallableWith(total)
    expect(countExceptions).type.not.toBeCallableWith(seconds)
    expect(trackInProgress).type.not.toBeCallableWith(total)
    expect(instrumented).type.not.toBeCallableWith({ duration: total })
    expect(instrumented).type.not.toBeCallableWith({ inProgress: total })
  })

  test("take a registry of either client and of either content type", () => {
    expect(timed).type.toBeCallableWith(seconds, { registry })
    expect(timed).type.toBeCallableWith(seconds, { registry: newRegistry })
    expect(timed).type.toBeCallableWith(seconds, { registry: openMetricsRegistry })
    expect(timed).type.toBeCallableWith(seconds, { registry: undefined })
    expect(instrumented).type.toBeCallableWith({ duration: seconds }, { registry: newRegistry })
    expect(timed).type.not.toBeCallableWith(seconds, { registry: "default" })
  })

  test("know no exemplars and no exits, which are of effects", () => {
    expect(timed).type.not.toBeCallableWith(seconds, { exemplar: "currentSpan" })
    expect(countExceptions).type.not.toBeCallableWith(total, { only: { exit: "defect" } })
  })

  test("that are misspelt are rejected", () => {
    expect(timed).type.not.toBeCallableWith(seconds, { label: { anything: 1 } })
    expect(countExceptions).type.not.toBeCallableWith(total, { onyl: TypeError })
    // @ts-expect-error: is not assignable to type 'never'
    instrumented({ exceptions: { metric: total, onyl: TypeError } })
    // @ts-expect-error: is not assignable to type 'never'
    instrumented({ duration: { metric: seconds, only: TypeError } })
  })

  test("beside the entries of instrumented are rejected with a message that says where labels belong", () => {
    // @ts-expect-error: options: { readonly "labels belong to an entry: { duration: { metric, labels } }": never; }): never
    instrumented({ duration: secondsBy }, { labels })
  })

  test("that are misspelt are rejected as entries of instrumented", () => {
    expect(instrumented).type.not.toBeCallableWith({ durations: seconds })
    expect(instrumented).type.not.toBeCallableWith({ duration: seconds, exeptions: total })
    expect(instrumented).type.not.toBeCallableWith({ duration: seconds, inprogress: running }, promise)
  })

  test("of effects are rejected in an entry of instrumented", () => {
    expect(instrumented).type.not.toBeCallableWith({ exceptions: { metric: total, only: { exit: "defect" } } })
    expect(instrumented).type.not.toBeCallableWith({ duration: { metric: secondsBy, labels, exemplar: "currentSpan" } })
  })
})
