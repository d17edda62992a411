/** Scrapes that come and go together, at random: each gets what it would get alone. */
import { setImmediate as nextTurn } from "node:timers/promises"
import { assert, describe } from "@effect/vitest"
import { Effect, Logger } from "effect"
import { Counter, Gauge, Histogram, Registry as PromRegistry, Summary } from "prom-client"
import * as Exposition from "../src/Exposition.js"
import * as Registry from "../src/Registry.js"
import { contentTypes } from "./support/expositions.js"
import { seeded } from "./support/interruption.js"
import { soak } from "./support/soak.js"
import { assertInTime, itInTime } from "./support/timing.js"

type Random = () => number

const pick = <A>(random: Random, from: ReadonlyArray<A>): A => from[Math.floor(random() * from.length)] as A

const some = <A>(random: Random, from: ReadonlyArray<A>): ReadonlyArray<A> => from.filter(() => random() < 0.4)

/** How a metric answers. */
type Manner = "stored" | "at once" | "later" | "never" | "fails at once" | "fails later"

const manners: ReadonlyArray<Manner> = [
  "stored",
  "stored",
  "stored",
  "at once",
  "at once",
  "later",
  "later",
  "never",
  "fails at once",
  "fails later"
]

const fails = new Set<Manner>(["fails at once", "fails later"])

const collecting = (random: Random, manner: Manner): (() => Promise<void> | void) | undefined => {
  const turns = 1 + Math.floor(random() * 6)
  const later = async (): Promise<void> => {
    for (let turn = 0; turn < turns; turn += 1) await nextTurn()
    if (manner === "fails later") throw new Error("no")
  }
  if (manner === "stored") return undefined
  if (manner === "at once") return () => {}
  if (manner === "never") return () => new Promise<void>(() => {})
  if (manner === "fails at once") {
    return () => {
      throw new Error("no")
    }
  }
  return later
}

interface Named {
  readonly name: string
  readonly manner: Manner
}

/** A metric of some kind, with values that do not change; `registers` has a second registry where it always answers. */
const metric = (random: Random, index: number, registry: PromRegistry, twin: PromRegistry): Named => {
  const manner = pick(random, manners)
  const collect = collecting(random, manner)
  const kind = pick(random, ["counter", "gauge", "histogram", "summary"] as const)
  const name = kind === "counter" ? `m${index}_total` : `m${index}`
  const count = pick(random, [0, 1, 3, 300, 700])
  for (const [registers, own] of [
    [[registry], collect],
    [[twin], undefined]
  ] as const) {
    const options = { name, help: "h", labelNames: ["a"], registers, ...(own === undefined ? {} : { collect: own }) }
    for (let series = 0, made = makeOf(kind, options); series < count; series += 1) made({ a: `${series}` }, series)
  }
  return { name, manner }
}

const makeOf = (kind: "counter" | "gauge" | "histogram" | "summary", options: object) => {
  // What they are made from has the same shape, but for the type of `collect`.
  const given = options as never
  if (kind === "counter") {
    const counter = new Counter<"a">(given)
    return (labels: { readonly a: string }, value: number) => counter.inc(labels, value)
  }
  if (kind === "gauge") {
    const gauge = new Gauge<"a">(given)
    return (labels: { readonly a: string }, value: number) => gauge.set(labels, value)
  }
  const observer =
    kind === "histogram"
      ? new Histogram<"a">({ ...(options as object), buckets: [1, 100] } as never)
      : new Summary<"a">({ ...(options as object), percentiles: [0.5] } as never)
  return (labels: { readonly a: string }, value: number) => observer.observe(labels, value)
}

const formats = ["text", "openmetrics"] as const

type Format = (typeof formats)[number]

const alone = (registry: PromRegistry, format: Format, names: ReadonlyArray<string>): Promise<string> =>
  Effect.runPromise(
    Exposition.render({ accept: contentTypes[format], names }).pipe(
      Effect.map(({ body }) => body),
      Effect.provideService(Registry.Registry, registry)
    )
  )

const policies = ["fail", "continue"] as const

/** What a scrape of those metrics is answered with. */
const expected = async (
  all: ReadonlyArray<Named>,
  names: ReadonlyArray<string> | undefined,
  policy: (typeof policies)[number],
  textOf: (names: ReadonlyArray<string>) => Promise<string>
): Promise<string> => {
  const wanted = all.filter(({ name }) => names?.includes(name) ?? true)
  const namesThat = (is: (manner: Manner) => boolean): ReadonlyArray<string> =>
    wanted.filter(({ manner }) => is(manner)).map(({ name }) => name)
  const late = namesThat((manner) => manner === "never")
  const broken = namesThat((manner) => fails.has(manner))
  if (policy === "fail" && late.length > 0) return `503 the scrape timed out while waiting for ${late.join(", ")}\n`
  if (policy === "fail" && broken.length > 0) return `500 collecting ${broken.join(", ")} failed\n`
  return `200 ${await textOf(namesThat((manner) => manner !== "never" && !fails.has(manner)))}`
}

describe("Scrapes that come and go together", () => {
  itInTime(
    "get what each of them would get alone",
    function* () {
      for (let seed = 1; seed <= soak(400); seed += 1) yield* Effect.promise(() => assertRight(seed))
    },
    600_000
  )
})

const assertRight = async (seed: number): Promise<void> => {
  const random = seeded(seed)
  const [registry, twin] = [new PromRegistry(), new PromRegistry()]
  const metrics = Array.from({ length: 1 + Math.floor(random() * 9) }, (_, index) =>
    metric(random, index, registry, twin)
  )
  const handlers = await Promise.all(
    policies.map((onError) =>
      Effect.runPromise(
        Exposition.webHandler({ onError, selfMetrics: false, scrapeTimeout: "400 millis" }).pipe(
          Effect.provideService(Registry.Registry, registry),
          Effect.provide(Logger.remove(Logger.defaultLogger))
        )
      )
    )
  )
  // What it counts itself is on the registry from now on.
  const own = { name: "effect_prometheus_errors_total", manner: "stored" } as const
  const scrapes = Array.from({ length: 1 + Math.floor(random() * 16) }, async (_, at): Promise<void> => {
    const which = Math.floor(random() * 2)
    const policy = policies[which] as (typeof policies)[number]
    const names = random() < 0.4 ? undefined : [...some(random, metrics).map(({ name }) => name), "unknown"]
    const format = pick(random, formats)
    const leavesAfter = random() < 0.3 ? Math.floor(random() * 12) : undefined
    for (let turn = Math.floor(random() * 12); turn > 0; turn -= 1) await nextTurn()
    const controller = new AbortController()
    const query = names === undefined ? "" : `?${names.map((name) => `name[]=${name}`).join("&")}`
    const request = new Request(`http://localhost/metrics${query}`, {
      headers: {
        accept: contentTypes[format],
        ...(random() < 0.3 ? { "x-prometheus-scrape-timeout-seconds": "1" } : {})
      },
      signal: controller.signal
    })
    const began = performance.now()
    const answering = (handlers[which] as (typeof handlers)[number])(request)
    if (leavesAfter !== undefined) {
      for (let turn = leavesAfter; turn > 0; turn -= 1) await nextTurn()
      controller.abort()
    }
    const response = await answering
    const title = `seed ${seed}, scrape ${at}: ${policy} ${format} ${query}`
    const body = await response.text()
    if (leavesAfter !== undefined && response.status === 499) return
    assert.isBelow(performance.now() - began, 10_000, title)
    assertInTime(!body.startsWith("the scrape timed out before collecting "), `${title}: ${body}`)
    const textOf = (wanted: ReadonlyArray<string>) => alone(twin, format, wanted)
    const right = await expected(metrics, names, policy, textOf)
    const all = names === undefined && right.startsWith("200") ? withoutOwn(body) : body
    assert.strictEqual(`${response.status} ${all}`, right, title)
    if (names === undefined && response.status === 200) assert.include(body, own.name.replace(/_total$/, ""), title)
  })
  await Promise.all(scrapes)
}

/** A body without the family of the library's own. */
const withoutOwn = (body: string): string =>
  body
    .split("\n")
    .filter((line) => !line.includes("effect_prometheus_errors"))
    .join("\n")
