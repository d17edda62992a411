/** Layers from effects. */
export { scoped, scopedDiscard, unwrapEffect } from "effect/Layer"
