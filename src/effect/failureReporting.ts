/** Failures of metrics are counted at once, and logged as soon as the fiber can log. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { Reporter } from "../core/instrument/instruments.js"
import { nameOf, type Operation, warningFor } from "../core/instrument/metricFailures.js"
import type { MetricRegistry } from "../core/registry/metricRegistry.js"
import { countError } from "../core/registry/selfMetrics.js"
import { harmless } from "./log.js"

export abstract class FailureReporting implements Reporter {
  private logs: Effect.Effect<void> | undefined

  /** Where failures are counted. */
  protected abstract registry(): MetricRegistry

  failed(operation: Operation, metric: object, error: unknown): void {
    countError(this.registry(), operation)
    const log = warning(operation, metric, error)
    if (log !== undefined) this.logs = this.logs === undefined ? log : Effect.andThen(this.logs, log)
  }

  failsLater(operation: Operation, metric: object): (error: unknown) => void {
    const registry = this.registry()
    const fork = this.forking()
    return (error) => {
      countError(registry, operation)
      const log = warning(operation, metric, error)
      if (log !== undefined) fork(log)
    }
  }

  /** The warning is logged after the measured fiber has ended. */
  protected forking(): (log: Effect.Effect<void>) => void {
    return Effect.runFork
  }

  /** Logs the failures since the last call. A logger that dies must not change the outcome either. */
  warnings(): Effect.Effect<void> | undefined {
    const { logs } = this
    this.logs = undefined
    return logs && harmless(logs)
  }

  /** Logs the failures since the last call first. */
  afterWarnings<A, E, R>(next: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const warnings = this.warnings()
    return warnings === undefined ? next : Effect.flatMap(warnings, () => next)
  }
}

const warning = (operation: Operation, metric: object, error: unknown): Effect.Effect<void> | undefined => {
  const text = warningFor(metric, operation, error)
  if (text === undefined) return undefined
  const name = nameOf(metric)
  const data = name === undefined ? { operation } : { metric: name, operation }
  return Effect.annotateLogs(Effect.logWarning(text, Cause.die(error)), data)
}
