import * as PrometheusIo from "@prometheus-io/client"
import { Context, Data, Effect, type Exit, pipe } from "effect"
import * as PromClient from "prom-client"
import { describe, expect, test } from "tstyche"
import * as Metrics from "../../src/Metrics.js"

class HttpError extends Data.TaggedError("HttpError")<{ readonly status: number }> {}
class Database extends Context.Tag("Database")<Database, { readonly query: Effect.Effect<number, HttpError> }>() {}

declare const effect: Effect.Effect<number, HttpError, Database>

const plain = { name: "plain", help: "h" }
const labelled = { ...plain, labelNames: ["method", "status"] as const }

/** Metrics of both clients, without names of labels and with them. */
const seconds = new PromClient.Histogram(plain)
const secondsBy = new PromClient.Histogram(labelled)
const summaryBy = new PromClient.Summary(labelled)
const total = new PromClient.Counter(plain)
const totalBy = new PromClient.Counter(labelled)
const running = new PromClient.Gauge(plain)
const runningBy = new PromClient.Gauge(labelled)
const newSeconds = new PrometheusIo.Histogram(plain)
const newSecondsBy = new PrometheusIo.Histogram(labelled)
const newSummaryBy = new PrometheusIo.Summary(labelled)
const newTotal = new PrometheusIo.Counter(plain)
const newTotalBy = new PrometheusIo.Counter(labelled)
const newRunning = new PrometheusIo.Gauge(plain)
const newRunningBy = new PrometheusIo.Gauge(labelled)

/** Hand-written metrics. */
declare const fake: { observe(seconds: number): void; inc(): void; dec(): void }
declare const fakeBy: {
  observe(seconds: number): void
  inc(): void
  dec(): void
  labels(labels: { readonly method: string; readonly status: number }): typeof fake
}

const labels = { method: "GET", status: 200 }

interface RequestLabels {
  readonly method: string
  readonly status: number
}
declare const requestLabels: RequestLabels

type Unchanged = Effect.Effect<number, HttpError, Database>

describe("an effect keeps its types", () => {
  test("in a pipe", () => {
    expect(effect.pipe(Metrics.timed(seconds))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(total))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(running))).type.toBe<Unchanged>()
    expect(
      effect.pipe(Metrics.instrumented({ duration: seconds, exceptions: total, inProgress: running }))
    ).type.toBe<Unchanged>()
    expect(
      pipe(effect, Metrics.timed(seconds), Metrics.countExceptions(total), Metrics.trackInProgress(running))
    ).type.toBe<Unchanged>()
  })

  test("in a pipe with labels", () => {
    expect(effect.pipe(Metrics.timed(secondsBy, { labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(totalBy, { labels: () => labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(runningBy, { labels }))).type.toBe<Unchanged>()
    expect(
      effect.pipe(Metrics.instrumented({ duration: { metric: secondsBy, labels: () => labels }, inProgress: running }))
    ).type.toBe<Unchanged>()
  })

  test("given first", () => {
    expect(Metrics.timed(effect, seconds)).type.toBe<Unchanged>()
    expect(Metrics.timed(effect, secondsBy, { labels })).type.toBe<Unchanged>()
    expect(Metrics.timed(effect, secondsBy, { labels: () => labels })).type.toBe<Unchanged>()
    expect(Metrics.countExceptions(effect, total, { only: HttpError })).type.toBe<Unchanged>()
    expect(Metrics.countExceptions(effect, totalBy, { labels, only: { tag: "HttpError" } })).type.toBe<Unchanged>()
    expect(Metrics.trackInProgress(effect, running)).type.toBe<Unchanged>()
    expect(Metrics.trackInProgress(effect, runningBy, { labels })).type.toBe<Unchanged>()
    expect(Metrics.instrumented(effect, { duration: seconds })).type.toBe<Unchanged>()
    expect(Metrics.instrumented(effect, {})).type.toBe<Unchanged>()
  })

  test("in the pipeline of Effect.fn", () => {
    const load = Effect.fn("load")(
      function* (id: string) {
        const database = yield* Database
        return id.length + (yield* database.query)
      },
      Metrics.timed(secondsBy, { labels }),
      Metrics.countExceptions(total),
      Metrics.instrumented({ inProgress: running })
    )
    expect(load).type.toBe<(id: string) => Unchanged>()
  })

  test("in a generic function", () => {
    const measured = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Metrics.trackInProgress(self, running).pipe(
        Metrics.timed(secondsBy, { labels: (exit) => ({ method: "GET", status: exit._tag }) }),
        Metrics.instrumented({ exceptions: total })
      )
    expect(measured(effect)).type.toBe<Unchanged>()
  })

  test("under a stored combinator, whatever they are", () => {
    const timed = Metrics.timed(secondsBy, { labels })
    const counted = Metrics.countExceptions(total, { only: [TypeError, RangeError] })
    const tracked = Metrics.trackInProgress(runningBy, { labels })
    const instrumented = Metrics.instrumented({ duration: { metric: secondsBy, labels }, exceptions: total })
    type Stored = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    expect(timed).type.toBe<Stored>()
    expect(counted).type.toBe<Stored>()
    expect(tracked).type.toBe<Stored>()
    expect(instrumented).type.toBe<Stored>()
    expect(timed(Effect.succeed("text"))).type.toBe<Effect.Effect<string>>()
    expect(timed(effect)).type.toBe<Unchanged>()
  })
})

describe("metrics that are accepted", () => {
  test("those of prom-client 15 and their children", () => {
    expect(effect.pipe(Metrics.timed(summaryBy, { labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(secondsBy.labels("GET", "200")))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(summaryBy.labels(labels)))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(totalBy.labels("GET", "200")))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(runningBy.labels("GET", "200")))).type.toBe<Unchanged>()
  })

  test("those of @prometheus-io/client and their children", () => {
    expect(effect.pipe(Metrics.timed(newSeconds))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(newTotal))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(newRunning))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(newSecondsBy, { labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(newSummaryBy, { labels: () => labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(newTotalBy, { labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(newRunningBy, { labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(newSecondsBy.labels("GET", "200")))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(newTotalBy.labels(labels)))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(newRunningBy.labels(labels)))).type.toBe<Unchanged>()
  })

  test("those written by hand, with labels and without", () => {
    expect(effect.pipe(Metrics.timed(fake))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(fake))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(fake))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(fakeBy, { labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.countExceptions(fakeBy, { labels: () => labels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(fakeBy, { labels }))).type.toBe<Unchanged>()
    expect(
      effect.pipe(Metrics.instrumented({ duration: fake, exceptions: { metric: fakeBy, labels }, inProgress: fake }))
    ).type.toBe<Unchanged>()
  })

  test("those known as an interface only", () => {
    const measured = (duration: Metrics.Observer, exceptions: Metrics.Counter, inProgress: Metrics.Gauge) =>
      effect.pipe(
        Metrics.timed(duration),
        Metrics.countExceptions(exceptions),
        Metrics.trackInProgress(inProgress),
        Metrics.instrumented({ duration, exceptions, inProgress })
      )
    expect(measured).type.toBe<(d: Metrics.Observer, e: Metrics.Counter, i: Metrics.Gauge) => Unchanged>()
    expect(measured).type.toBeCallableWith(seconds, total, running)
    expect(measured).type.toBeCallableWith(newSeconds, newTotal, newRunning)
    expect(measured).type.toBeCallableWith(secondsBy.labels(labels), totalBy.labels(labels), runningBy.labels(labels))
    expect(measured).type.not.toBeCallableWith(total, total, running)
    expect(measured).type.not.toBeCallableWith(seconds, total, total)
  })

  test("a histogram whose names the compiler cannot know, without labels and with any", () => {
    const any = new PromClient.Histogram<string>(plain)
    expect(effect.pipe(Metrics.timed(any))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(any, { labels: { anything: "at all" } }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(any, { labels: () => ({ anything: 1 }) }))).type.toBe<Unchanged>()
    expect(
      effect.pipe(Metrics.instrumented({ duration: { metric: any, labels: { anything: 1 } }, inProgress: running }))
    ).type.toBe<Unchanged>()
  })
})

describe("labels that are accepted", () => {
  test("those of an interface", () => {
    expect(effect.pipe(Metrics.timed(secondsBy, { labels: requestLabels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(newSecondsBy, { labels: () => requestLabels }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.trackInProgress(fakeBy, { labels: requestLabels }))).type.toBe<Unchanged>()
  })

  test("those of an interface, in an entry of instrumented", () => {
    expect(Metrics.instrumented).type.toBeCallableWith({ duration: { metric: secondsBy, labels: requestLabels } })
    expect(Metrics.instrumented).type.toBeCallableWith(effect, {
      duration: { metric: secondsBy, labels: () => requestLabels },
      inProgress: { metric: fakeBy, labels: requestLabels }
    })
  })

  test("those from the exit, which has the types of the effect before it", () => {
    expect(
      effect.pipe(
        Metrics.timed(secondsBy, {
          labels: (exit) => {
            expect(exit).type.toBe<Exit.Exit<number, HttpError>>()
            return { method: "GET", status: exit._tag === "Success" ? exit.value : 500 }
          }
        })
      )
    ).type.toBe<Unchanged>()
    expect(
      Metrics.countExceptions(effect, totalBy, {
        labels: (exit) => {
          expect(exit).type.toBe<Exit.Exit<number, HttpError>>()
          return labels
        }
      })
    ).type.toBe<Unchanged>()
    expect(
      effect.pipe(
        Metrics.instrumented({
          duration: {
            metric: secondsBy,
            labels: (exit) => {
              expect(exit).type.toBe<Exit.Exit<number, HttpError>>()
              return labels
            }
          }
        })
      )
    ).type.toBe<Unchanged>()
    expect(
      Metrics.instrumented(effect, {
        exceptions: {
          metric: totalBy,
          labels: (exit) => {
            expect(exit).type.toBe<Exit.Exit<number, HttpError>>()
            return labels
          }
        }
      })
    ).type.toBe<Unchanged>()
  })
})

describe("labels that are rejected", () => {
  test("a missing name", () => {
    // @ts-expect-error: Property 'status' is missing in type '{ method: string; }'
    Metrics.timed(effect, secondsBy, { labels: { method: "GET" } })
    // @ts-expect-error: Property 'status' is missing in type '{ method: string; }'
    Metrics.timed(secondsBy, { labels: { method: "GET" } })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(secondsBy, { labels: () => ({ method: "GET" }) })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(newSecondsBy, { labels: () => ({ method: "GET" }) })
    // @ts-expect-error: Property 'status' is missing in type '{ method: string; }'
    Metrics.trackInProgress(runningBy, { labels: { method: "GET" } })
    // @ts-expect-error: Property 'status' is missing in type
    Metrics.instrumented({ duration: { metric: secondsBy, labels: { method: "GET" } } })
  })

  test("a wrong name", () => {
    // @ts-expect-error: 'metod' does not exist in type
    Metrics.timed(effect, secondsBy, { labels: { metod: "GET", status: 200 } })
    // @ts-expect-error: 'metod' does not exist in type
    Metrics.countExceptions(totalBy, { labels: { metod: "GET", status: 200 } })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.countExceptions(newTotalBy, { labels: () => ({ metod: "GET", status: 200 }) })
    // @ts-expect-error: 'metod' does not exist in type
    Metrics.trackInProgress(fakeBy, { labels: { metod: "GET", status: 200 } })
  })

  test("a name too many", () => {
    // @ts-expect-error: Type 'string' is not assignable to type 'never'
    Metrics.timed(effect, secondsBy, { labels: { method: "GET", status: 200, path: "/" } })
    // @ts-expect-error: Type 'string' is not assignable to type 'never'
    Metrics.timed(secondsBy, { labels: { method: "GET", status: 200, path: "/" } })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(secondsBy, { labels: () => ({ method: "GET", status: 200, path: "/" }) })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(newSecondsBy, { labels: () => ({ method: "GET", status: 200, path: "/" }) })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(fakeBy, { labels: () => ({ method: "GET", status: 200, path: "/" }) })
    // @ts-expect-error: Type 'string' is not assignable to type 'never'
    Metrics.trackInProgress(runningBy, { labels: { method: "GET", status: 200, path: "/" } })
    // @ts-expect-error: is not assignable to type 'never'
    Metrics.instrumented({ duration: { metric: secondsBy, labels: { method: "GET", status: 200, path: "/" } } })
    // @ts-expect-error: is not assignable to type 'never'
    Metrics.instrumented({ duration: { metric: secondsBy, labels: () => ({ method: "GET", status: 200, path: "/" }) } })
  })

  test("a value that is undefined, or of another type", () => {
    // @ts-expect-error: Type 'undefined' is not assignable to type 'string | number'
    Metrics.timed(effect, secondsBy, { labels: { method: undefined, status: 200 } })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(newSecondsBy, { labels: () => ({ method: undefined, status: 200 }) })
    // @ts-expect-error: Type 'boolean' is not assignable to type 'string | number'
    Metrics.trackInProgress(runningBy, { labels: { method: "GET", status: true } })
    // @ts-expect-error: is not assignable to type
    Metrics.instrumented({ inProgress: { metric: runningBy, labels: { method: undefined, status: 200 } } })
  })

  test("a name that may be absent", () => {
    const optional: { readonly method?: string; readonly status: number } = { status: 200 }
    // @ts-expect-error: Property 'method' is optional in type
    Metrics.trackInProgress(runningBy, { labels: optional })
    // @ts-expect-error: is not assignable to type 'LabelsOf<
    Metrics.timed(secondsBy, { labels: () => optional })
  })

  test("any labels of a child or of a metric without names", () => {
    // @ts-expect-error: this metric has no labels
    Metrics.timed(secondsBy.labels("GET", "200"), { labels })
    // @ts-expect-error: this metric has no labels
    Metrics.timed(newSeconds, { labels })
    // @ts-expect-error: this metric has no labels
    Metrics.countExceptions(newTotal, { labels: () => labels })
    // @ts-expect-error: this metric has no labels
    Metrics.trackInProgress(fake, { labels })
    // @ts-expect-error: this metric has no labels
    Metrics.instrumented({ duration: { metric: newSeconds, labels } })
    // @ts-expect-error: this metric has no labels
    Metrics.instrumented({ exceptions: { metric: totalBy.labels("GET", "200"), labels } })
  })

  test("missing for a metric that has names", () => {
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.timed(secondsBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.timed(newSecondsBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.countExceptions(totalBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.trackInProgress(runningBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.trackInProgress(fakeBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.instrumented({ duration: secondsBy })
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    Metrics.instrumented({ inProgress: { metric: newRunningBy } })
    expect(Metrics.timed).type.not.toBeCallableWith(effect, secondsBy)
    expect(Metrics.countExceptions).type.not.toBeCallableWith(effect, totalBy, { only: HttpError })
    expect(Metrics.trackInProgress).type.not.toBeCallableWith(effect, runningBy)
    expect(Metrics.instrumented).type.not.toBeCallableWith(effect, { exceptions: totalBy })
  })

  test("a function for what is in progress, which has no exit yet", () => {
    // @ts-expect-error: is not assignable to type
    Metrics.trackInProgress(runningBy, { labels: () => labels })
    // @ts-expect-error: No overload matches this call
    Metrics.trackInProgress(running, { labels: () => labels })
    // @ts-expect-error: is not assignable to type
    Metrics.instrumented({ inProgress: { metric: runningBy, labels: () => labels } })
  })
})

describe("metrics that are rejected", () => {
  test("one that cannot do what is asked of it", () => {
    // @ts-expect-error: Property 'observe' is missing in type 'Counter<
    Metrics.timed(total)
    // @ts-expect-error: Property 'observe' is missing in type 'Gauge<
    Metrics.timed(running)
    // @ts-expect-error: Property 'inc' is missing in type 'Histogram<
    Metrics.countExceptions(seconds)
    // @ts-expect-error: Property 'dec' is missing in type 'Counter<
    Metrics.trackInProgress(total)
    // @ts-expect-error: Property 'dec' is missing in type 'Counter<never>'
    Metrics.trackInProgress(newTotal)
    // @ts-expect-error: is not assignable to type
    Metrics.instrumented({ duration: total })
    // @ts-expect-error: is not assignable to type
    Metrics.instrumented({ inProgress: total })
    // @ts-expect-error: Property 'dec' is missing in type 'Counter<
    Metrics.instrumented({ inProgress: { metric: total } })
    expect(Metrics.timed).type.not.toBeCallableWith(effect, total)
    expect(Metrics.trackInProgress).type.not.toBeCallableWith(effect, total)
  })
})

describe("exemplars", () => {
  test("are accepted with a whole metric", () => {
    expect(effect.pipe(Metrics.timed(seconds, { exemplar: "currentSpan" }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(secondsBy, { labels, exemplar: "currentSpan" }))).type.toBe<Unchanged>()
    expect(effect.pipe(Metrics.timed(newSeconds, { exemplar: "currentSpan" }))).type.toBe<Unchanged>()
    expect(
      effect.pipe(Metrics.countExceptions(newTotalBy, { labels: () => labels, exemplar: "currentSpan" }))
    ).type.toBe<Unchanged>()
    expect(
      effect.pipe(Metrics.instrumented({ duration: { metric: secondsBy, labels, exemplar: "currentSpan" } }))
    ).type.toBe<Unchanged>()
  })

  test("are rejected with a child", () => {
    // @ts-expect-error: an exemplar needs the whole metric: pass it with { labels } instead of a child
    Metrics.timed(effect, secondsBy.labels("GET", "200"), { exemplar: "currentSpan" })
    // @ts-expect-error: No overload matches this call
    Metrics.countExceptions(totalBy.labels("GET", "200"), { exemplar: "currentSpan" })
    // @ts-expect-error: an exemplar needs the whole metric: pass it with { labels } instead of a child
    Metrics.instrumented({ duration: { metric: secondsBy.labels("GET", "200"), exemplar: "currentSpan" } })
    expect(Metrics.timed).type.not.toBeCallableWith(newSecondsBy.labels("GET", "200"), { exemplar: "currentSpan" })
    expect(Metrics.timed).type.not.toBeCallableWith(fake, { exemplar: "currentSpan" })
  })

  test("are rejected of anything but the current span, and of a gauge", () => {
    expect(Metrics.timed).type.not.toBeCallableWith(seconds, { exemplar: "parentSpan" })
    expect(Metrics.timed).type.not.toBeCallableWith(seconds, { exemplar: true })
    expect(Metrics.trackInProgress).type.not.toBeCallableWith(running, { exemplar: "currentSpan" })
  })
})

describe("what is counted", () => {
  test("is narrowed by classes, tags, a predicate or the exit", () => {
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: HttpError })
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: [HttpError, TypeError] as const })
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: { tag: "HttpError" } })
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: { tag: ["HttpError", "Timeout"] } })
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: { when: (_: unknown) => true } })
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: { exit: "interrupt" } })
    expect(Metrics.countExceptions).type.toBeCallableWith(total, { only: undefined })
    expect(Metrics.instrumented).type.toBeCallableWith({ exceptions: { metric: total, only: { exit: "any" } } })
  })

  test("is narrowed by nothing else", () => {
    expect(Metrics.countExceptions).type.not.toBeCallableWith(total, { only: "HttpError" })
    expect(Metrics.countExceptions).type.not.toBeCallableWith(total, { only: { exit: "success" } })
    expect(Metrics.countExceptions).type.not.toBeCallableWith(total, { only: { tags: ["HttpError"] } })
    expect(Metrics.countExceptions).type.not.toBeCallableWith(total, { only: { when: "HttpError" } })
    expect(Metrics.countExceptions).type.not.toBeCallableWith(total, { only: new HttpError({ status: 500 }) })
    expect(Metrics.timed).type.not.toBeCallableWith(seconds, { only: HttpError })
  })
})

describe("a name that is misspelt is rejected", () => {
  test("of an option", () => {
    expect(Metrics.timed).type.not.toBeCallableWith(seconds, { label: { anything: 1 } })
    expect(Metrics.countExceptions).type.not.toBeCallableWith(total, { onyl: HttpError })
    expect(Metrics.trackInProgress).type.not.toBeCallableWith(running, { label: { anything: 1 } })
  })

  test("of an option in an entry of instrumented", () => {
    // @ts-expect-error: Type 'string' is not assignable to type 'never'
    Metrics.instrumented({ duration: { metric: seconds, label: "anything" } })
    // @ts-expect-error: is not assignable to type 'never'
    Metrics.instrumented({ duration: { metric: seconds, only: HttpError } })
    // @ts-expect-error: is not assignable to type 'never'
    Metrics.instrumented({ inProgress: { metric: running, exemplar: "currentSpan" } })
    expect(Metrics.instrumented).type.not.toBeCallableWith(effect, { exceptions: { metric: total, onyl: HttpError } })
  })

  test("labels beside the entries of instrumented, with a message that says where they belong", () => {
    // @ts-expect-error: options: { readonly "labels belong to an entry: { duration: { metric, labels } }": never; }): never
    Metrics.instrumented({ duration: secondsBy }, { labels })
    expect(Metrics.instrumented).type.not.toBeCallableWith({ duration: secondsBy }, { labels })
  })

  test("of an entry of instrumented", () => {
    expect(Metrics.instrumented).type.not.toBeCallableWith({ durations: seconds })
    expect(Metrics.instrumented).type.not.toBeCallableWith({ duration: seconds, exeptions: total })
    expect(Metrics.instrumented).type.not.toBeCallableWith(effect, { duration: seconds, inprogress: running })
  })
})
