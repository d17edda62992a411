import { assert, describe, it } from "@effect/vitest"
import { Registry, register } from "prom-client"
import { counter, gauge, histogram, summary, webHandler } from "../src/Promises.js"

const help = "A metric of a test."

const constructors = { counter, gauge, histogram, summary } as Readonly<
  Record<string, (options: { readonly name: string; readonly help: string; readonly registry?: Registry }) => object>
>

const body = async (registry: Registry): Promise<string> =>
  (await webHandler({ registry })(new Request("http://localhost/metrics"))).text()

describe("counter, gauge, histogram and summary", () => {
  for (const [type, create] of Object.entries(constructors)) {
    it(`create a ${type} once, on the registry that is given`, () => {
      const registry = new Registry()
      const created = create({ name: "m", help, registry })
      assert.strictEqual(create({ name: "m", help: "Another help text.", registry }), created)
      assert.strictEqual<unknown>(registry.getSingleMetric("m"), created)
      assert.isUndefined(register.getSingleMetric("m"))
    })

    it(`refuse a ${type} if the registry has another metric of that name`, () => {
      const registry = new Registry()
      const other = type === "counter" ? gauge : counter
      other({ name: "m", help, registry })
      assert.throws(() => create({ name: "m", help, registry }), /m/)
    })

    it(`throw a RangeError for options of a ${type} that are wrong`, () => {
      const rows: ReadonlyArray<readonly [options: unknown, message: string]> = [
        [null, "options must be an object"],
        [{ name: "m", hlep: help }, "unknown option hlep (did you mean help?)"],
        [{ name: "1m", help }, "name must consist of letters"],
        [{ name: "m", help, registry: {} }, "registry must be a registry of prom-client"]
      ]
      for (const [options, message] of rows) {
        assert.throws(() => create(options as never), RangeError, message)
      }
    })
  }

  it("use the global registry by default", () => {
    const created = counter({ name: "promises_metrics_test_total", help })
    assert.strictEqual<unknown>(register.getSingleMetric("promises_metrics_test_total"), created)
    register.removeSingleMetric("promises_metrics_test_total")
  })

  it("have every series of a closed set at 0, and limit the number of others", async () => {
    const registry = new Registry()
    const payments = counter({
      name: "payments_total",
      help,
      labelNames: ["outcome"],
      series: { outcome: ["paid", "refused"] },
      maxSeries: 3,
      registry
    })
    for (const outcome of ["late", "lost", "stolen"]) payments.inc({ outcome })
    const lines = (await body(registry)).split("\n").filter((line) => line.startsWith("payments_total{"))
    assert.sameMembers(lines, [
      'payments_total{outcome="paid"} 0',
      'payments_total{outcome="refused"} 0',
      'payments_total{outcome="late"} 1',
      'payments_total{outcome="overflow"} 2'
    ])
  })
})

describe("A request of Next.js", () => {
  it("gets a body that is not compressed, because Next.js compresses it", async () => {
    const registry = new Registry()
    counter({ name: "m_total", help: help.repeat(200), registry })
    const request = () => new Request("http://localhost/metrics", { headers: { "accept-encoding": "gzip" } })
    const ofNext = await webHandler({ registry })(
      Object.assign(request(), { nextUrl: new URL("http://localhost/metrics") })
    )
    assert.isNull(ofNext.headers.get("content-encoding"))
    assert.include(await ofNext.text(), "\nm_total 0\n")
    const other = await webHandler({ registry })(request())
    assert.strictEqual(other.headers.get("content-encoding"), "gzip")
  })
})
