/** Families that the exposition itself adds. They are on no registry. */
import { getOrInsert } from "../util/getOrInsert.js"
import { oncePerProcess } from "../util/oncePerProcess.js"
import type { SampleSnapshot } from "./model.js"

/** In seconds. A worker adds it to the expositions that it serves. */
export const ageFamily = {
  name: "effect_prometheus_exposition_age_seconds",
  help: "Age of this exposition: 0, or the time since the last response of the main thread, in seconds.",
  type: "gauge",
  subject: "the age of an exposition"
} as const

class LeftOutFamily {
  readonly name = "effect_prometheus_metrics_left_out"
  readonly help = "Metrics left out of this exposition; the log contains the reasons."
  readonly type = "gauge"
  readonly subject = "the number of metrics left out"
  readonly identity = this
  value = 0

  read(): SampleSnapshot {
    const { help, name, type, value } = this
    return { name, help, type, samples: [[{ value }]] }
  }
}

const families = oncePerProcess("left out families", () => new WeakMap<object, LeftOutFamily>())

export const leftOutFamilyOf = (registry: object): LeftOutFamily =>
  getOrInsert(families, registry, () => new LeftOutFamily())
