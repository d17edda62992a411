/** Switches the metrics that Effect records about its fibers. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/** Until the scope closes. Fails with the reason if it is not possible. */
export const switchFibers = (_: boolean): Effect.Effect<void, string, Scope.Scope> =>
  Effect.fail("fibers is an option of EffectMetrics.layer alone: Effect 4 takes the setting from a layer")

/** For the code to which the layer is provided. */
export const fibersLayer = (on: boolean): Layer.Layer<never> =>
  on ? Metric.enableRuntimeMetricsLayer : Metric.disableRuntimeMetricsLayer
