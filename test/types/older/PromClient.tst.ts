import * as PromClient from "prom-client"
import { expect, test } from "tstyche"
import { timed } from "../../../src/Promises.js"

// The newer client's types do better: there, these are metrics without labels.
test("prom-client 15 leaves unknown to the compiler which labels a metric has that was made without names", () => {
  const seconds = new PromClient.Histogram({ name: "plain", help: "h" })
  expect(seconds).type.toBe<PromClient.Histogram<string>>()
  expect(timed).type.toBeCallableWith(seconds, { labels: { anything: 1 } })
})
