import * as PrometheusIo from "@prometheus-io/client"
import { Context, Data, type Exit, pipe, type Stream } from "effect"
import * as PromClient from "prom-client"
import { describe, expect, test } from "tstyche"
import * as StreamMetrics from "../../src/StreamMetrics.js"

class ReadError extends Data.TaggedError("ReadError")<{ readonly line: number }> {}
class Files extends Context.Tag("Files")<Files, object>() {}

declare const stream: Stream.Stream<number, ReadError, Files>

const plain = { name: "plain", help: "h" }
const labelled = { ...plain, labelNames: ["source", "outcome"] as const }
const seconds = new PromClient.Histogram(plain)
const secondsBy = new PromClient.Histogram(labelled)
const total = new PromClient.Counter(plain)
const totalBy = new PromClient.Counter(labelled)
const running = new PromClient.Gauge(plain)
const runningBy = new PromClient.Gauge(labelled)
const newSecondsBy = new PrometheusIo.Histogram(labelled)
const newTotalBy = new PrometheusIo.Counter(labelled)
declare const fake: { observe(seconds: number): void; inc(): void; dec(): void }

const labels = { source: "a", outcome: 1 }

type Unchanged = Stream.Stream<number, ReadError, Files>

describe("a stream keeps its types", () => {
  test("in a pipe and given first", () => {
    expect(stream.pipe(StreamMetrics.timed(seconds))).type.toBe<Unchanged>()
    expect(stream.pipe(StreamMetrics.countElements(total))).type.toBe<Unchanged>()
    expect(stream.pipe(StreamMetrics.countElements(totalBy, { labels }))).type.toBe<Unchanged>()
    expect(stream.pipe(StreamMetrics.countElements(newTotalBy.labels("a", "b")))).type.toBe<Unchanged>()
    expect(stream.pipe(StreamMetrics.countExceptions(total, { only: ReadError }))).type.toBe<Unchanged>()
    expect(stream.pipe(StreamMetrics.trackInProgress(runningBy, { labels }))).type.toBe<Unchanged>()
    expect(pipe(stream, StreamMetrics.timed(fake), StreamMetrics.countElements(fake))).type.toBe<Unchanged>()
    expect(StreamMetrics.timed(stream, newSecondsBy, { labels })).type.toBe<Unchanged>()
    expect(StreamMetrics.countElements(stream, total)).type.toBe<Unchanged>()
    expect(StreamMetrics.trackInProgress(stream, running)).type.toBe<Unchanged>()
    expect(
      stream.pipe(StreamMetrics.instrumented({ duration: seconds, elements: total, inProgress: running }))
    ).type.toBe<Unchanged>()
    expect(
      StreamMetrics.instrumented(stream, {
        elements: { metric: totalBy, labels },
        exceptions: { metric: totalBy, labels: (exit) => ({ source: "a", outcome: exit._tag }), only: ReadError }
      })
    ).type.toBe<Unchanged>()
  })

  test("and a function of labels sees its error", () => {
    stream.pipe(
      StreamMetrics.timed(secondsBy, {
        labels: (exit) => {
          expect(exit).type.toBe<Exit.Exit<void, ReadError>>()
          return labels
        }
      })
    )
  })
})

describe("what is rejected", () => {
  test("labels that the metric lacks, has more of, or that are missing", () => {
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    StreamMetrics.timed(secondsBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    StreamMetrics.countElements(totalBy)
    // @ts-expect-error: this metric has labels: pass { labels } or a child
    StreamMetrics.instrumented({ elements: totalBy })
    expect(StreamMetrics.countElements).type.not.toBeCallableWith(totalBy, { labels: { source: "a" } })
    expect(StreamMetrics.countElements).type.not.toBeCallableWith(totalBy, { labels: { ...labels, other: 1 } })
    expect(StreamMetrics.timed).type.not.toBeCallableWith(secondsBy, { labels: () => ({ source: "a" }) })
    expect(StreamMetrics.timed).type.not.toBeCallableWith(secondsBy, { labels: () => ({ ...labels, other: 1 }) })
    expect(StreamMetrics.countElements).type.not.toBeCallableWith(newTotalBy.labels("a", "b"), { labels })
  })

  test("a function of labels where there is no exit yet", () => {
    expect(StreamMetrics.countElements).type.not.toBeCallableWith(totalBy, { labels: () => labels })
    expect(StreamMetrics.trackInProgress).type.not.toBeCallableWith(runningBy, { labels: () => labels })
    // @ts-expect-error: is not assignable to type
    StreamMetrics.instrumented({ elements: { metric: totalBy, labels: () => labels } })
  })

  test("a metric without the needed method, an unknown option and an unknown entry", () => {
    expect(StreamMetrics.timed).type.not.toBeCallableWith(total)
    expect(StreamMetrics.countElements).type.not.toBeCallableWith(seconds)
    expect(StreamMetrics.countElements).type.not.toBeCallableWith({ inc: (_: object) => {} })
    expect(StreamMetrics.trackInProgress).type.not.toBeCallableWith(total)
    expect(StreamMetrics.countElements).type.not.toBeCallableWith(total, { only: ReadError })
    expect(StreamMetrics.instrumented).type.not.toBeCallableWith({ element: total })
    // @ts-expect-error: options: { readonly "labels belong to an entry: { duration: { metric, labels } }": never; }): never
    StreamMetrics.instrumented({ duration: secondsBy }, { labels })
    expect(StreamMetrics.timed).type.not.toBeCallableWith(secondsBy.labels("a", "b"), { exemplar: "currentSpan" })
  })
})
