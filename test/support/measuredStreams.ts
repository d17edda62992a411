import type { Stream } from "effect"
import * as StreamMetrics from "../../src/StreamMetrics.js"
import { FakeCounter, FakeObserver, fakes } from "./metrics.js"

export type Plain = Stream.Stream<number, RangeError>
export type Measure = (self: Plain) => Plain

export const unmeasured: Measure = (self) => self

/** All ways to measure a stream. */
export const measures: Readonly<Record<string, () => Measure>> = {
  timed: () => StreamMetrics.timed(new FakeObserver()),
  countElements: () => StreamMetrics.countElements(new FakeCounter()),
  countExceptions: () => StreamMetrics.countExceptions(new FakeCounter()),
  trackInProgress: () => StreamMetrics.trackInProgress(fakes().inProgress),
  instrumented: () => (self) => StreamMetrics.instrumented(self, fakes()),
  "two in a pipe": () => (self) =>
    self.pipe(StreamMetrics.timed(new FakeObserver()), StreamMetrics.countExceptions(new FakeCounter()))
}
