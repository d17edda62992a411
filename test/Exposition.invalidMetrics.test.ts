// biome-ignore-all lint/suspicious/noThenProperty: an object whose then throws is what is tested
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Gauge, Histogram, Registry as PromRegistry } from "prom-client"
import { plainProperty, revokedProxy, throwingProperty } from "./support/hostileObjects.js"
import { get } from "./support/httpClient.js"
import { errors } from "./support/metrics.js"
import { serverKinds, started } from "./support/servers.js"

/** A metric made by hand, with other properties in the place of its own. */
const odd = (properties: PropertyDescriptorMap, base: object = {}): object => {
  const sound = { name: "odd", help: "h", type: "gauge", get: async () => ({ ...sound, values: [{ value: 3 }] }) }
  return Object.defineProperties({ ...sound, ...base }, properties)
}

const giving = (given: unknown): object => odd({ get: plainProperty(() => given) })
const values = (given: unknown): object => giving({ name: "odd", help: "h", type: "gauge", values: given })

const getThrows = (thrown: unknown): object => odd({ get: plainProperty(throwingProperty(thrown).get) })

const thenThrows = (): object => Object.defineProperty({}, "then", throwingProperty())

const typed = (type: unknown): object =>
  odd({
    type: plainProperty(type),
    get: plainProperty(async () => ({ name: "odd", help: "h", type, values: [{ value: 3 }] }))
  })

const clientGauge = (properties: PropertyDescriptorMap): object => {
  const gauge = new Gauge({ name: "odd", help: "h", registers: [] })
  gauge.set(3)
  return Object.defineProperties(gauge, properties)
}

const clientHistogram = (properties: PropertyDescriptorMap): object => {
  const histogram = new Histogram({ name: "odd", help: "h", labelNames: ["a"], registers: [] })
  histogram.observe({ a: "x" }, 3)
  // Without that it is frozen.
  return Object.defineProperties(histogram, properties)
}

const place = "entry 2 of the registry"

type Entries = ReadonlyArray<readonly [title: string, entry: () => unknown]>

/** What has no name that could be read. */
const nameless: Entries = [
  ["null", () => null],
  ["undefined", () => undefined],
  ["a number", () => 5],
  ["NaN", () => Number.NaN],
  ["a text", () => "odd"],
  ["a symbol", () => Symbol("odd")],
  ["a proxy that was revoked", revokedProxy],
  ["a proxy whose every trap throws", () => new Proxy({}, new Proxy({}, throwingProperty() as never))],
  ["something whose name throws", () => odd({ name: throwingProperty() })],
  ["something whose name throws what was revoked", () => odd({ name: throwingProperty(revokedProxy()) })]
]

/** What is called odd, and cannot be read. */
const named: Entries = [
  ["a metric whose type throws", () => odd({ type: throwingProperty() })],
  ["a metric whose help throws", () => odd({ help: throwingProperty() })],
  ["a metric whose collect throws as it is read", () => odd({ collect: throwingProperty() })],
  ["a metric whose get throws as it is read", () => odd({ get: throwingProperty() })],
  ["a metric whose get is a text", () => odd({ get: plainProperty("text") })],
  ["a metric without get", () => odd({ get: plainProperty(undefined) })],
  ["a metric whose getForPromString throws as it is read", () => odd({ getForPromString: throwingProperty() })],
  ["a metric whose getForPromString is a number", () => odd({ getForPromString: plainProperty(7) })],
  ["a metric that throws where it is asked for what it has", () => new Proxy(odd({}), { has: throwingProperty().get })],
  ["a metric that throws what was revoked", () => getThrows(revokedProxy())],
  [
    "a metric that throws an error whose message throws",
    () => getThrows(Object.defineProperty(new Error(), "message", throwingProperty()))
  ],
  [
    "a metric that throws an error whose stack throws",
    () => getThrows(Object.defineProperty(new Error(), "stack", throwingProperty()))
  ],
  ["a metric that throws null", () => getThrows(null)],
  ["a metric that throws a symbol", () => getThrows(Symbol("no"))],
  ["a metric that gives nothing", () => giving(undefined)],
  ["a metric that gives null", () => giving(null)],
  ["a metric that gives a text", () => giving("text")],
  ["a metric that gives an object whose then throws", () => giving(thenThrows())],
  ["a metric that gives what was revoked", () => giving(revokedProxy())],
  ["a metric that gives no values", () => values(undefined)],
  ["a metric whose values are null", () => values(null)],
  ["a metric whose values are a text", () => values("text")],
  ["a metric whose values are a set", () => values(new Set([{ value: 3 }]))],
  ["a metric whose values are null each", () => values([null])],
  ["a metric whose values are a billion of nothing", () => values(new Array(1e9))],
  ["a metric whose value throws as it is read", () => values([Object.defineProperty({}, "value", throwingProperty())])],
  ["a metric whose labels throw", () => values([Object.defineProperty({ value: 3 }, "labels", throwingProperty())])],
  ["a gauge of the client whose collect throws as it is read", () => clientGauge({ collect: throwingProperty() })],
  ["a histogram of the client whose bounds throw", () => clientHistogram({ upperBounds: throwingProperty() })],
  ["a histogram of the client whose bounds are a text", () => clientHistogram({ upperBounds: plainProperty("text") })],
  // The other client keeps its series elsewhere.
  ...("hashMap" in new Gauge({ name: "kept", help: "h", registers: [] })
    ? ([
        ["a gauge of the client whose series throw", () => clientGauge({ hashMap: throwingProperty() })],
        ["a gauge of the client whose series are null", () => clientGauge({ hashMap: plainProperty(null) })],
        ["a histogram of the client whose series throw", () => clientHistogram({ hashMap: throwingProperty() })]
      ] as const)
    : [])
]

const unreadable = [
  ...nameless.map(([title, entryOf]) => [title, entryOf, place] as const),
  ...named.map(([title, entryOf]) => [title, entryOf, "odd"] as const)
]

/** What is not on the exposition because of its name, and what the log says of it. */
const misnamed: ReadonlyArray<readonly [title: string, name: unknown, said: string]> = [
  ["a symbol", Symbol("odd"), "Symbol(odd)"],
  ["undefined", undefined, "undefined"],
  ["a number", 5, "5"],
  ["NaN", Number.NaN, "NaN"],
  ["an object", {}, "[object Object]"],
  ["an object without a prototype", Object.create(null), "an object"],
  ["a promise", Promise.resolve("odd"), "[object Promise]"],
  ["what was revoked", revokedProxy(), "an object"],
  ["empty", "", '""'],
  ["two words", "two words", '"two words"'],
  ["a line", "odd 3\nodder", '"odd 3\\nodder"'],
  ["a very long text", "-".repeat(1_000_000), '"-----']
]

/** What is served nevertheless, and the lines that are of it. */
const served: ReadonlyArray<readonly [title: string, entry: () => unknown, lines: string]> = [
  ["a metric whose type is a symbol", () => typed(Symbol("gauge")), "# TYPE odd untyped\nodd 3\n"],
  ["a metric whose type is NaN", () => typed(Number.NaN), "# TYPE odd untyped\nodd 3\n"],
  ["a metric whose type is a promise", () => typed(Promise.resolve()), "# TYPE odd untyped\nodd 3\n"],
  ["a metric whose aggregator throws", () => odd({ aggregator: throwingProperty() }), "# TYPE odd gauge\nodd 3\n"],
  ["a metric whose labelNames throw", () => odd({ labelNames: throwingProperty() }), "# TYPE odd gauge\nodd 3\n"],
  ["a metric whose hashMap throws", () => odd({ hashMap: throwingProperty() }), "# TYPE odd gauge\nodd 3\n"],
  ["a function that is a metric", () => Object.defineProperties(() => {}, descriptors(odd({}))), "\nodd 3\n"],
  ["a metric behind a proxy", () => new Proxy(odd({}), {}), "# TYPE odd gauge\nodd 3\n"],
  [
    "a metric whose value throws in valueOf",
    () => values([{ value: { valueOf: throwingProperty().get } }, { labels: { a: "x" }, value: 4 }]),
    '# TYPE odd gauge\nodd{a="x"} 4\n'
  ],
  ["a metric whose value is a promise", () => values([{ value: Promise.resolve(3) }, { value: 4 }]), "\nodd 4\n"],
  ["a metric with a very long help", () => odd({}, { help: "x".repeat(1_000_000) }), "\nodd 3\n"]
]

const descriptors = (of: object): PropertyDescriptorMap => Object.getOwnPropertyDescriptors(of) as PropertyDescriptorMap

/** A registry with that as its second entry, among sound ones. */
const registryWith = (entry: unknown): PromRegistry => {
  const registry = new PromRegistry()
  new Gauge({ name: "before", help: "h", registers: [registry] }).set(1)
  new Counter({ name: "after", help: "h", registers: [registry] }).inc(2)
  const all = registry.getMetricsAsArray.bind(registry)
  registry.getMetricsAsArray = () => {
    const [first, ...others] = all()
    return [first, entry, ...others] as ReturnType<typeof all>
  }
  return registry
}

const assertOthers = (body: string): void => {
  assert.include(body, "# TYPE before gauge\nbefore 1\n")
  assert.include(body, "# TYPE after counter\nafter 2\n")
}

for (const kind of serverKinds) {
  describe(`a server ${kind.name}, of a registry with`, () => {
    for (const [title, entryOf, named] of unreadable) {
      it.scopedLive(`${title}, serves the others`, () =>
        Effect.gen(function* () {
          const registry = registryWith(entryOf())
          const { lines, url } = yield* started(kind, {}, { registry })
          for (let time = 0; time < 2; time += 1) {
            const { body, status } = yield* get(url)
            assert.strictEqual(status, 200)
            assertOthers(body)
            assert.notMatch(body, /^(# TYPE )?odd/m)
          }
          const said = lines.filter(({ level }) => level === "ERROR").map(({ message }) => message)
          assert.deepStrictEqual(said, [`collecting ${named} failed`])
          const { collect = 0 } = yield* Effect.promise(() => errorsBeside(registry))
          assert.isAtLeast(collect, 2)
          const narrowed = yield* get(`${url}?name[]=before`)
          assert.include(narrowed.body, "before 1\n")
        })
      )

      it.scopedLive(`${title}, names it in a 500 with onError: "fail"`, () =>
        Effect.gen(function* () {
          const registry = registryWith(entryOf())
          const { lines, url } = yield* started(kind, { onError: "fail" }, { registry })
          for (let time = 0; time < 2; time += 1) {
            const { body, status } = yield* get(url)
            assert.strictEqual(status, 500)
            assert.strictEqual(body, `collecting ${named} failed\n`)
          }
          assert.lengthOf(
            lines.filter(({ level }) => level === "ERROR"),
            1
          )
          // It is in the way of nothing else.
          assert.strictEqual((yield* get(`${url}?name[]=before`)).status, 200)
        })
      )
    }

    for (const [title, name, said] of misnamed) {
      it.scopedLive(`a metric whose name is ${title}, leaves it out and says so once`, () =>
        Effect.gen(function* () {
          const registry = registryWith(odd({ name: plainProperty(name) }))
          const { lines, url } = yield* started(kind, {}, { registry })
          for (let time = 0; time < 2; time += 1) {
            const { body, status } = yield* get(url)
            assert.strictEqual(status, 200)
            assertOthers(body)
            assert.include(body, "\neffect_prometheus_metrics_left_out 1\n")
          }
          const warnings = lines.filter(({ level }) => level === "WARN").map(({ message }) => message)
          assert.lengthOf(warnings, 1)
          assert.include(warnings[0], `a metric is left out: its name ${said}`)
          assert.isBelow(warnings[0]?.length ?? 0, 400)
        })
      )
    }

    for (const [title, entryOf, text] of served) {
      it.scopedLive(`${title}, serves it with the others`, () =>
        Effect.gen(function* () {
          const { url } = yield* started(kind, {}, { registry: registryWith(entryOf()) })
          const { body, status } = yield* get(url)
          assert.strictEqual(status, 200)
          assertOthers(body)
          assert.include(body, text)
        })
      )
    }
  })
}

const errorsBeside = (registry: PromRegistry) => {
  const counter = new PromRegistry()
  const known = registry.getSingleMetric("effect_prometheus_errors_total")
  if (known !== undefined) counter.registerMetric(known as never)
  return errors(counter)
}

/** Two sound metrics, and what a registry makes of them. */
const lists: ReadonlyArray<readonly [title: string, given: (all: ReadonlyArray<object>) => unknown]> = [
  ["a set", (all) => new Set(all)],
  ["a generator", (all) => all.values()],
  ["an array with holes", (all) => all.flatMap((metric, at) => Object.assign(new Array(2), { [at % 2]: metric }))],
  ["a million places, nearly all of them empty", (all) => Object.assign(new Array(1_000_000), all)],
  ["each metric twice", (all) => [...all, ...all]],
  ["a proxy of an array", (all) => new Proxy([...all], {})]
]

const noLists: ReadonlyArray<readonly [title: string, given: () => unknown, said: string]> = [
  ["null", () => null, "null"],
  ["a number", () => 5, "5"],
  ["a text", () => "text", "text"],
  ["an object", () => ({ length: 1 }), "[object Object]"],
  ["a promise", () => Promise.resolve([]), "[object Promise]"],
  ["what was revoked", revokedProxy, "revoked"],
  ["a billion places", () => new Array(1e9), "more than 1000000"],
  [
    "metrics without an end",
    function* () {
      for (;;) yield {}
    },
    "more than 1000000"
  ],
  ["what it throws", () => throwingProperty().get(), "no"]
]

for (const kind of serverKinds) {
  describe(`a server ${kind.name}, of a registry that gives`, () => {
    for (const [title, given] of lists) {
      it.scopedLive(`${title}, serves what is in it`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          new Gauge({ name: "before", help: "h", registers: [registry] }).set(1)
          new Counter({ name: "after", help: "h", registers: [registry] }).inc(2)
          const all = registry.getMetricsAsArray.bind(registry)
          registry.getMetricsAsArray = () => given(all()) as never
          const { lines, url } = yield* started(kind, {}, { registry })
          const { body, status } = yield* get(url)
          assert.strictEqual(status, 200)
          assertOthers(body)
          assert.lengthOf(body.match(/^# TYPE before /gm) ?? [], 1)
          assert.deepStrictEqual(
            lines.filter(({ level }) => level !== "INFO"),
            []
          )
        })
      )
    }

    for (const [title, given, said] of noLists) {
      it.scopedLive(`${title}, answers 500 and logs why`, () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const { lines, url } = yield* started(kind, { onError: "continue" }, { registry })
          registry.getMetricsAsArray = given as never
          const { body, status } = yield* get(url)
          assert.strictEqual(status, 500)
          assert.strictEqual(body, "the registry could not be read\n")
          const [line] = lines.filter(({ level }) => level === "ERROR")
          assert.include(`${line?.message} ${line?.cause}`, said)
        })
      )
    }

    it.scopedLive("its own list, which changes while it is read, serves what was in it", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const live: Array<object> = []
        const changing = new Gauge({
          name: "changing",
          help: "h",
          registers: [],
          async collect() {
            await new Promise((resolve) => setImmediate(resolve))
            live.splice(0, 1)
            this.set(1)
          }
        })
        live.push(changing)
        for (let at = 0; at < 2_000; at += 1) {
          live.push(
            new Gauge({
              name: `sound_${at}`,
              help: "h",
              registers: [],
              collect() {
                this.set(at)
              }
            })
          )
        }
        registry.getMetricsAsArray = () => live as never
        const { url } = yield* started(kind, {}, { registry })
        const { body, status } = yield* get(url)
        assert.strictEqual(status, 200)
        assert.isAtLeast(body.match(/^sound_\d+ /gm)?.length ?? 0, 1_999)
      })
    )

    it.scopedLive("no single metric, but throws, serves all of them", () =>
      Effect.gen(function* () {
        const registry = registryWith(odd({}))
        registry.getSingleMetric = throwingProperty().get
        const { url } = yield* started(kind, {}, { registry })
        const { body, status } = yield* get(url)
        assert.strictEqual(status, 200)
        assertOthers(body)
      })
    )
  })
}
