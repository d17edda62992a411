/** Layers from effects. */
export { effect as scoped, effectDiscard as scopedDiscard, unwrap as unwrapEffect } from "effect/Layer"
