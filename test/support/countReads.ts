/**
 * Counts how often the metrics of prom-client are asked for their series. Import it before anything that renders: the
 * library then takes the functions that count for the client's own, as they do nothing but call those.
 */
import { Counter, Gauge, Histogram } from "prom-client"

interface Readable {
  get(): Promise<unknown>
  getForPromString?(): Promise<unknown>
}

const readings = new WeakMap<object, number>()

const counted = (read: () => Promise<unknown>) =>
  function (this: object): Promise<unknown> {
    readings.set(this, (readings.get(this) ?? 0) + 1)
    return read.call(this)
  }

for (const prototype of [Counter, Gauge, Histogram].map((client) => client.prototype as unknown as Readable)) {
  prototype.get = counted(prototype.get)
  if (prototype.getForPromString !== undefined) prototype.getForPromString = counted(prototype.getForPromString)
}

/** How often that metric was asked. */
export const readsOf = (metric: object): number => readings.get(metric) ?? 0
