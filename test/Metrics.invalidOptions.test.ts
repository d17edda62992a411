import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Metrics from "../src/Metrics.js"
import * as Promises from "../src/Promises.js"
import * as StreamMetrics from "../src/StreamMetrics.js"
import { FakeCounter, FakeGauge, FakeObserver } from "./support/metrics.js"

type Combinator = (...args: ReadonlyArray<unknown>) => unknown
type Combinators = Readonly<Record<"timed" | "countExceptions" | "trackInProgress" | "instrumented", Combinator>>

// The compiler refuses all of these options. A program in JavaScript has no compiler.
const sides: ReadonlyArray<readonly [name: string, combinators: Combinators, first: ReadonlyArray<unknown>]> = [
  ["Metrics, in a pipe", Metrics as unknown as Combinators, []],
  ["Metrics, with the effect", Metrics as unknown as Combinators, [Effect.void]],
  ["StreamMetrics, in a pipe", StreamMetrics as unknown as Combinators, []],
  ["StreamMetrics, with the stream", StreamMetrics as unknown as Combinators, [Stream.empty]],
  ["Promises", Promises as unknown as Combinators, []]
]

const observer = new FakeObserver()
const counter = new FakeCounter()
const gauge = new FakeGauge()

const rows: ReadonlyArray<readonly [combinator: keyof Combinators, args: ReadonlyArray<unknown>, message: string]> = [
  [
    "timed",
    [observer, { label: { queue: "mail" } }],
    "unknown option label of duration (did you mean labels?); the options are labels"
  ],
  ["timed", [observer, { only: RangeError }], "unknown option only of duration"],
  ["timed", [observer, { toString: 1 }], "unknown option toString of duration"],
  [
    "countExceptions",
    [counter, { onyl: RangeError }],
    "unknown option onyl of exceptions (did you mean only?); the options are labels"
  ],
  ["countExceptions", [counter, { only: "RangeError" }], "only must be an error class"],
  ["countExceptions", [counter, { only: [RangeError, "TypeError"] }], "only must be an error class"],
  ["countExceptions", [counter, { only: null }], "only must be an error class"],
  ["countExceptions", [counter, { only: () => true }], "only must be an error class"],
  ["countExceptions", [counter, { only: { tag: ["NotFound", 404] } }], "only must be an error class"],
  ["countExceptions", [counter, { only: { when: /timeout/ } }], "only must be an error class"],
  ["trackInProgress", [gauge, { exemplar: "currentSpan" }], "unknown option exemplar of inProgress"],
  [
    "instrumented",
    [{ durations: observer }],
    "unknown instrument durations (did you mean duration?); the instruments are duration"
  ],
  ["instrumented", [{ constructor: observer }], "unknown instrument constructor"],
  ["instrumented", [{ duration: { metric: observer, lables: {} } }], "unknown option lables of duration"],
  ["instrumented", [{ inProgress: { metric: gauge, only: RangeError } }], "unknown option only of inProgress"],
  [
    "instrumented",
    [{ duration: observer }, { labels: { queue: "mail" } }],
    "labels belong to an entry of instrumented"
  ],
  ["instrumented", [{ duration: observer }, { labls: {} }], "unknown option labls"],
  ["instrumented", [null], "expected an object with duration, exceptions, inProgress"]
]

describe("An option that a combinator does not have, or that is invalid", () => {
  for (const [name, combinators, first] of sides) {
    for (const [combinator, args, message] of rows) {
      it(`is refused by ${combinator} of ${name}: ${message}`, () => {
        assert.throws(() => combinators[combinator](...first, ...args), RangeError, message)
      })
    }
  }

  it("is refused by the combinators of Promises alone if it is an exemplar, or stands beside instruments", () => {
    const { instrumented, timed } = Promises as unknown as Combinators
    assert.throws(() => timed(observer, { exemplar: "currentSpan" }), RangeError, "unknown option exemplar of duration")
    assert.throws(
      () => instrumented({}, { registri: {} }),
      RangeError,
      "unknown option registri (did you mean registry?); the options are registry"
    )
  })

  it("is refused by the combinators of effects and streams if it is an exit that does not exist", () => {
    for (const { countExceptions } of [Metrics, StreamMetrics] as unknown as ReadonlyArray<Combinators>) {
      const message = "only.exit must be one of failure, defect, interrupt, any"
      assert.throws(() => countExceptions(counter, { only: { exit: "interruption" } }), RangeError, message)
    }
  })

  it("is no class whose instances are told apart by code of its own", () => {
    class Coded extends Error {
      static override [Symbol.hasInstance](error: { readonly code: string }) {
        return error.code.startsWith("E")
      }
    }
    assert.doesNotThrow(() => Promises.countExceptions(counter, { only: Coded }))
    assert.doesNotThrow(() => Promises.countExceptions(counter, { only: RangeError.bind(null) as never }))
  })

  it("counts as not given if it is undefined", () => {
    assert.doesNotThrow(() => Metrics.timed(observer, { labels: undefined, exemplar: undefined }))
    assert.doesNotThrow(() =>
      Promises.instrumented({ duration: undefined, exceptions: counter }, { registry: undefined })
    )
  })
})
