/** Switches the metrics that Effect records about its fibers. */
import type * as Effect from "effect/Effect"
import { withRuntimeFlagsPatchScoped } from "effect/Effect"
import type * as Layer from "effect/Layer"
import { scopedDiscard } from "effect/Layer"
import * as RuntimeFlags from "effect/RuntimeFlags"
import * as RuntimeFlagsPatch from "effect/RuntimeFlagsPatch"
import type * as Scope from "effect/Scope"

const patches = {
  on: RuntimeFlagsPatch.enable(RuntimeFlags.RuntimeMetrics),
  off: RuntimeFlagsPatch.disable(RuntimeFlags.RuntimeMetrics)
}

/** Until the scope closes. Fails with the reason if it is not possible. */
export const switchFibers = (on: boolean): Effect.Effect<void, string, Scope.Scope> =>
  withRuntimeFlagsPatchScoped(patches[on ? "on" : "off"])

/** For the code to which the layer is provided. */
export const fibersLayer = (on: boolean): Layer.Layer<never> =>
  scopedDiscard(withRuntimeFlagsPatchScoped(patches[on ? "on" : "off"]))
