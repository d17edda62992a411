/** Gauges of what is in progress that other code resets, sets, or removes series from meanwhile. */
import { once } from "node:events"
import { createServer, get } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import * as fc from "fast-check"
import type * as PromClient from "prom-client"
import * as Metrics from "../src/Metrics.js"
import { httpMetrics, instrumented, trackInProgress } from "../src/Promises.js"
import * as Registry from "../src/Registry.js"
import * as StreamMetrics from "../src/StreamMetrics.js"
import { type Client, clients, FakeGauge, metrics, series } from "./support/metrics.js"

interface Labels {
  readonly method: string
  readonly outcome: string
}

/** A gauge as it is given to a combinator: with labels, or one without labels, or a labelled child. */
interface Given {
  readonly gauge: Metrics.Gauge
  readonly labels?: Labels | undefined
}

type End = () => Promise<unknown>

/** Begins a run, and ends it later. */
type Begin = (given: Given) => Promise<End>

// The combinators, for a gauge of which the table knows no more than that it is one.
type Loosely<F> = (gauge: Metrics.Gauge, options: { readonly labels: Labels | undefined }) => F
type OfEffects = Loosely<<A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>>
type OfStreams = Loosely<<A, E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R>>
type OfFunctions = Loosely<(run: () => Promise<void>) => () => Promise<void>>

const effects = Metrics.trackInProgress as unknown as OfEffects
const streams = StreamMetrics.trackInProgress as unknown as OfStreams
const functions = trackInProgress as unknown as OfFunctions

const waiting = () => {
  let end = (): void => {}
  const ended = new Promise<void>((resolve) => {
    end = resolve
  })
  return { end, ended }
}

const forked = async (measured: (body: Effect.Effect<void>) => Effect.Effect<unknown>): Promise<End> => {
  const begun = waiting()
  const { end, ended } = waiting()
  const fiber = Effect.runFork(
    measured(
      Effect.zipRight(
        Effect.sync(begun.end),
        Effect.promise(() => ended)
      )
    )
  )
  await begun.ended
  return () => {
    end()
    return Effect.runPromise(Fiber.await(fiber))
  }
}

/** The sides by name. Each run is of a combinator of its own. */
const sides: Readonly<Record<string, Begin>> = {
  "an effect": ({ gauge, labels }) => forked((body) => effects(gauge, { labels })(body)),
  "an instrumented effect that is interrupted": async ({ gauge, labels }) => {
    const fiber = Effect.runFork(Metrics.instrumented(Effect.never, { inProgress: { metric: gauge, labels } as never }))
    return () => Effect.runPromise(Fiber.interrupt(fiber))
  },
  "a stream": ({ gauge, labels }) =>
    forked((body) => Stream.runDrain(streams(gauge, { labels })(Stream.fromEffect(body)))),
  "a function": async ({ gauge, labels }) => {
    const { end, ended } = waiting()
    const running = functions(gauge, { labels })(() => ended)()
    return () => {
      end()
      return running
    }
  },
  "a promise": async ({ gauge, labels }) => {
    const { end, ended } = waiting()
    const running = instrumented({ inProgress: { metric: gauge, labels } as never }, ended)
    return () => {
      end()
      return running
    }
  }
}

const beginAll = async (given: ReadonlyArray<Given>, begin: Begin): Promise<Array<End>> => {
  const ends: Array<End> = []
  for (const each of given) ends.push(await begin(each))
  return ends
}

/** One combinator for all runs, as it is where a function is wrapped at the start of a program. */
const wrappedOnce = ({ gauge, labels }: Given): (() => End) => {
  const all: Array<() => void> = []
  const run = functions(gauge, { labels })(() => {
    const { end, ended } = waiting()
    all.push(end)
    return ended
  })
  return () => {
    const running = run()
    const end = all.at(-1) ?? assert.fail()
    return () => {
      end()
      return running
    }
  }
}

const labels: Labels = { method: "GET", outcome: "ok" }
const seriesName = 'runs_in_progress{method="GET",outcome="ok"}'

const unlabelled = (client: Client) => {
  const registry = new client.Registry()
  return { registry, gauge: new client.Gauge({ name: "runs_in_progress", help: "h", registers: [registry] }) }
}

type AnyGauge = PromClient.Gauge<string>

interface Subject {
  readonly registry: PromClient.Registry
  readonly gauge: AnyGauge
  readonly name: string
  /** The gauge, for one run. */
  readonly given: () => Given
  readonly remove: () => void
}

const withLabels = (client: Client, given: (gauge: AnyGauge) => () => Given): Subject => {
  const { inProgress, registry } = metrics(client)
  const gauge = inProgress as AnyGauge
  return { registry, gauge, name: seriesName, given: given(gauge), remove: () => gauge.remove("GET", "ok") }
}

/** How the gauge is given. */
const forms: Readonly<Record<string, (client: Client) => Subject>> = {
  "a gauge without labels": (client) => {
    const { gauge, registry } = unlabelled(client)
    return {
      ...{ registry, gauge: gauge as AnyGauge, name: "runs_in_progress" },
      given: () => ({ gauge }),
      remove: () => gauge.remove()
    }
  },
  "a gauge with labels": (client) => withLabels(client, (gauge) => () => ({ gauge, labels })),
  "one child for all runs": (client) =>
    withLabels(client, (gauge) => {
      const child = gauge.labels(labels as never)
      return () => ({ gauge: child })
    }),
  "a child for each run, by values": (client) =>
    withLabels(client, (gauge) => () => ({ gauge: gauge.labels("GET", "ok") })),
  "a child and the gauge with labels by turns": (client) =>
    withLabels(client, (gauge) => {
      let turn = 0
      return () => (turn++ % 2 === 0 ? { gauge, labels } : { gauge: gauge.labels("GET", "ok") })
    })
}

interface Change {
  readonly act: (subject: Subject) => void
  /** Whether the runs of before are still on the gauge. */
  readonly keeps: boolean
}

const changes: Readonly<Record<string, Change>> = {
  "registry.resetMetrics()": { act: ({ registry }) => registry.resetMetrics(), keeps: false },
  "gauge.reset()": { act: ({ gauge }) => gauge.reset(), keeps: false },
  "gauge.remove()": { act: ({ remove }) => remove(), keeps: false },
  "gauge.set() to 0": {
    act: ({ gauge, name }) => (name === seriesName ? gauge.set({ ...labels }, 0) : gauge.set(0)),
    keeps: false
  },
  "registry.clear() and registerMetric()": {
    act: ({ gauge, registry }) => {
      registry.clear()
      registry.registerMetric(gauge)
    },
    keeps: true
  },
  "registry.removeSingleMetric() and registerMetric()": {
    act: ({ gauge, registry }) => {
      registry.removeSingleMetric("runs_in_progress")
      registry.registerMetric(gauge)
    },
    keeps: true
  }
}

/** Runs begin (`+a`) and end (`-a`) around changes (`!`). */
const courses: Readonly<Record<string, string>> = {
  "before anything runs": "! +a -a",
  "before anything of a used gauge runs": "+a -a ! +b -b",
  "while two run": "+a +b ! -a -b",
  "while one runs that ends before the next": "+a ! +b -a -b",
  "while one runs that ends after the next": "+a ! +b -b -a",
  "again and again": "+a ! +b ! +c ! ! -c -a +d -b ! -d +e -e",
  "while nothing of many runs": "+a +b -b -a ! +c +d -c ! -d"
}

/** The value of the gauge after each step, and what it should be. */
const followed = async (
  course: string,
  subject: Subject,
  { act, keeps }: Change,
  begin: (subject: Subject) => End | Promise<End>
) => {
  const running = new Map<string, { readonly end: End; counted: boolean }>()
  const seen: Array<readonly [step: string, value: number]> = []
  const expected: typeof seen = []
  for (const step of course.split(" ")) {
    const [how, run = ""] = step
    if (how === "+") running.set(run, { end: await begin(subject), counted: true })
    else if (how === "-") {
      await running.get(run)?.end()
      running.delete(run)
    } else {
      act(subject)
      if (!keeps) for (const each of running.values()) each.counted = false
    }
    seen.push([step, (await series(subject.gauge))[subject.name] ?? 0])
    expected.push([step, [...running.values()].filter(({ counted }) => counted).length])
  }
  return { seen, expected }
}

for (const { name, client } of clients) {
  describe(`A gauge of what is in progress, of ${name}`, () => {
    for (const [form, made] of Object.entries(forms)) {
      for (const [how, change] of Object.entries(changes)) {
        const what = change.keeps ? "keeps" : "forgets"
        it(`${what} what runs where it is changed by ${how}, given as ${form}`, async () => {
          for (const [when, course] of Object.entries(courses)) {
            for (const [side, begin] of Object.entries(sides)) {
              const { expected, seen } = await followed(course, made(client), change, ({ given }) => begin(given()))
              assert.deepStrictEqual(seen, expected, `${side}, ${when}`)
            }
            const subject = made(client)
            const begin = wrappedOnce(subject.given())
            const { expected, seen } = await followed(course, subject, change, begin)
            assert.deepStrictEqual(seen, expected, `one function, ${when}`)
          }
        })
      }
    }

    it("does not bring a series back that was removed", async () => {
      const subject = (forms["a gauge with labels"] ?? assert.fail())(client)
      for (const begin of Object.values(sides)) {
        const end = await begin(subject.given())
        subject.remove()
        await end()
        assert.deepStrictEqual(await series(subject.gauge), {})
      }
    })

    it("keeps what other code counts, takes off and sets there", async () => {
      const { gauge } = unlabelled(client)
      const value = async () => (await series(gauge))["runs_in_progress"]
      for (const begin of Object.values(sides)) {
        gauge.set(0)
        const ends = await beginAll([{ gauge }, { gauge }, { gauge }], begin)
        gauge.inc(10)
        gauge.dec(3)
        await ends.pop()?.()
        assert.strictEqual(await value(), 9)
        // That is with the two that run.
        gauge.set(5)
        await ends.pop()?.()
        assert.strictEqual(await value(), 4)
        gauge.reset()
        gauge.inc(2)
        await ends.pop()?.()
        assert.strictEqual(await value(), 2)
      }
    })

    it("does not go below what it was set to less than runs", async () => {
      const { gauge } = unlabelled(client)
      const value = async () => (await series(gauge))["runs_in_progress"]
      for (const begin of Object.values(sides)) {
        gauge.reset()
        const ends = await beginAll([{ gauge }, { gauge }, { gauge }], begin)
        gauge.set(1)
        const later = await begin({ gauge })
        const values: Array<unknown> = [await value()]
        for (const end of [...ends, later]) {
          await end()
          values.push(await value())
        }
        assert.deepStrictEqual(values, [2, 2, 2, 1, 0])
      }
    })

    it("is forgotten at once by several combinators and sides that share it", async () => {
      const { inProgress, registry } = metrics(client)
      const gauge = inProgress as AnyGauge
      const child = gauge.labels("GET", "ok")
      const ends: Array<End> = []
      for (const begin of Object.values(sides))
        ends.push(...(await beginAll([{ gauge, labels }, { gauge: child }], begin)))
      const other = functions(gauge, { labels: { method: "PUT", outcome: "ok" } })
      const { end, ended } = waiting()
      const running = other(() => ended)()
      gauge.remove("GET", "ok")
      for (const begin of Object.values(sides)) ends.push(await begin({ gauge: child }))
      for (const each of ends.splice(0)) await each()
      const put = 'runs_in_progress{method="PUT",outcome="ok"}'
      assert.deepStrictEqual(await series(gauge), { [seriesName]: 0, [put]: 1 })
      registry.resetMetrics()
      end()
      await running
      assert.deepStrictEqual(await series(gauge), {})
    })

    it("is the same gauge to others: its keys, its methods and what they give back", async () => {
      const { inProgress, registry } = metrics(client)
      const gauge = inProgress as AnyGauge
      const before = [Object.keys(gauge), [gauge.reset, gauge.remove, gauge.set].map((method) => method.name)]
      const end = wrappedOnce({ gauge, labels })()
      await wrappedOnce({ gauge: gauge.labels("GET", "ok") })()()
      assert.deepStrictEqual(
        [Object.keys(gauge), [gauge.reset, gauge.remove, gauge.set].map((method) => method.name)],
        before
      )
      assert.strictEqual(registry.getSingleMetric("runs_in_progress"), gauge as never)
      assert.isUndefined(gauge.set({ ...labels }, 3) as unknown)
      assert.throws(() => gauge.set({ wrong: "label" } as never, 3), "wrong")
      assert.throws(() => gauge.set({ ...labels }, "3" as never), TypeError, "3")
      assert.throws(() => gauge.remove("GET"))
      await end()
      assert.deepStrictEqual(await series(gauge), { [seriesName]: 2 })
      gauge.labels("GET", "ok").startTimer()({ outcome: "slow" })
      assert.containsAllKeys(await series(gauge), ['runs_in_progress{method="GET",outcome="slow"}'])
    })

    it("has an instance of a derived class, with any reset of its own", async () => {
      const { registry } = unlabelled(client)
      registry.clear()
      class Starting extends client.Gauge {
        override reset(): void {
          super.reset()
          this.inc(100)
        }
      }
      const gauge = new Starting({ name: "runs_in_progress", help: "h", registers: [registry] })
      const ends = [wrappedOnce({ gauge })(), wrappedOnce({ gauge })()]
      registry.resetMetrics()
      for (const end of ends) await end()
      assert.deepStrictEqual(await series(gauge), { runs_in_progress: 100 })
    })

    it("counts what it can where it cannot be watched", async () => {
      const { gauge } = unlabelled(client)
      const { inProgress } = metrics(client)
      const inside = inProgress.labels("GET", "ok")
      const written = new FakeGauge()
      const byHand = { inc: () => inside.inc(), dec: () => inside.dec() }
      for (const each of [Object.freeze(gauge), Object.freeze(inside), written, byHand]) {
        const end = wrappedOnce({ gauge: each })()
        await wrappedOnce({ gauge: each })()()
        await end()
      }
      assert.deepStrictEqual(await series(gauge), { runs_in_progress: 0 })
      assert.deepStrictEqual(await series(inProgress), { [seriesName]: 0 })
      assert.deepStrictEqual(written.history, [1, 2, 1, 0])
    })

    it("is right after every order of beginnings, ends, changes and recordings of others, on several series", async () => {
      const step = fc.oneof(
        {
          weight: 6,
          arbitrary: fc.record({ kind: fc.constant("begin" as const), at: fc.nat(2), side: fc.nat(), form: fc.nat(2) })
        },
        { weight: 5, arbitrary: fc.record({ kind: fc.constant("end" as const), at: fc.nat() }) },
        {
          weight: 1,
          arbitrary: fc.oneof(
            fc.record({ kind: fc.constant("reset" as const) }),
            fc.record({ kind: fc.constant("clear" as const) })
          )
        },
        { weight: 2, arbitrary: fc.record({ kind: fc.constant("remove" as const), at: fc.nat(2) }) },
        { weight: 2, arbitrary: fc.record({ kind: fc.constant("inc" as const), at: fc.nat(2), by: fc.nat(3) }) }
      )
      const begins = Object.values(sides)
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
          const { inProgress, registry } = metrics(client)
          const gauge = inProgress as AnyGauge
          const all = ["a", "b", "c"].map((outcome) => ({
            labels: { method: "GET", outcome },
            wrapped: wrappedOnce({ gauge, labels: { method: "GET", outcome } }),
            others: 0
          }))
          const running: Array<{ readonly at: number; readonly end: End; counted: boolean }> = []
          const forget = (at: number): void => {
            for (const run of running) if (run.at === at) run.counted = false
            const one = all[at]
            if (one !== undefined) one.others = 0
          }
          const begin = async (at: number, side: number, form: number): Promise<End> => {
            const { labels, wrapped } = all[at] ?? assert.fail()
            if (form === 0) return wrapped()
            const given = form === 1 ? { gauge, labels } : { gauge: gauge.labels(labels as never) }
            return (begins[side % begins.length] ?? assert.fail())(given)
          }
          const check = async (): Promise<void> => {
            const values = await series(gauge)
            for (const [at, { labels, others }] of all.entries()) {
              const counted = running.filter((run) => run.at === at && run.counted).length
              const value = values[`runs_in_progress{method="GET",outcome="${labels.outcome}"}`] ?? 0
              assert.strictEqual(value, counted + others)
            }
          }
          for (const step of steps) {
            if (step.kind === "begin")
              running.push({ at: step.at, end: await begin(step.at, step.side, step.form), counted: true })
            else if (step.kind === "end") {
              const [run] = running.length === 0 ? [] : running.splice(step.at % running.length, 1)
              await run?.end()
            } else if (step.kind === "reset") {
              registry.resetMetrics()
              for (const at of all.keys()) forget(at)
            } else if (step.kind === "clear") {
              registry.clear()
              registry.registerMetric(gauge)
            } else {
              const one = all[step.at] ?? assert.fail()
              if (step.kind === "remove") {
                gauge.remove(one.labels as never)
                forget(step.at)
              } else {
                gauge.inc(one.labels as never, step.by)
                one.others += step.by
              }
            }
            await check()
          }
          for (const run of running.splice(0)) await run.end()
          await check()
        }),
        { numRuns: 60 }
      )
    })
  })
}

describe("A gauge of what is in progress that has a limit of series", () => {
  it.effect("forgets what runs, also on the series for all others", () =>
    Effect.gen(function* () {
      const options = { name: "runs_in_progress", help: "h", labelNames: ["a"], maxSeries: 1 } as const
      const gauge = yield* Registry.gauge(options)
      const named = (a: string) => `runs_in_progress{a="${a}"}`
      const given = (a: string): ReadonlyArray<Given> => [{ gauge, labels: { a } as never }, { gauge: gauge.labels(a) }]
      const all = () => Effect.promise(() => series(gauge))
      const removals: ReadonlyArray<() => void> = [() => gauge.reset(), () => gauge.remove("overflow")]
      for (const remove of removals) {
        for (const begin of Object.values(sides)) {
          const own = yield* Effect.promise(() => beginAll(given("1"), begin))
          const others = yield* Effect.promise(() => beginAll([...given("2"), ...given("3")], begin))
          assert.deepStrictEqual(yield* all(), { [named("1")]: 2, [named("overflow")]: 4 })
          // It is not there by its name.
          gauge.remove("2")
          yield* Effect.promise(() => others.pop()?.() ?? assert.fail())
          assert.deepStrictEqual(yield* all(), { [named("1")]: 2, [named("overflow")]: 3 })
          remove()
          for (const end of [...others, ...own]) yield* Effect.promise(end)
          for (const value of Object.values(yield* all())) assert.strictEqual(value, 0)
          gauge.reset()
        }
      }
    }).pipe(Effect.provide(Registry.layer(new (clients[0]?.client ?? assert.fail()).Registry())))
  )
})

describe("A gauge of the caller's own for requests in progress", () => {
  it("forgets the requests that run where it is reset or its series are removed", async () => {
    for (const { client } of clients) {
      const registry = new client.Registry()
      const gauge = new client.Gauge({ name: "in_progress", help: "h", labelNames: ["method"], registers: [registry] })
      const measure = httpMetrics({ metrics: { inProgress: gauge }, registry: new client.Registry() as never })
      const arrived: Array<() => void> = []
      const server = createServer((request, response) => {
        measure(request, response)
        arrived.push(() => response.end())
        server.emit("arrived")
      })
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      const { port } = server.address() as AddressInfo
      const ask = async () => {
        const asked = get({ port, host: "127.0.0.1", agent: false })
        await once(server, "arrived")
        const end = arrived.pop() ?? assert.fail()
        return async () => {
          end()
          const [response] = (await once(asked, "response")) as [NodeJS.ReadableStream]
          response.resume()
          await once(response, "close")
        }
      }
      for (const reset of [() => registry.resetMetrics(), () => gauge.remove("GET"), () => gauge.reset()]) {
        const before = await ask()
        reset()
        const later = await ask()
        assert.deepStrictEqual(await series(gauge), { 'in_progress{method="GET"}': 1 })
        await before()
        assert.deepStrictEqual(await series(gauge), { 'in_progress{method="GET"}': 1 })
        await later()
        assert.deepStrictEqual(await series(gauge), { 'in_progress{method="GET"}': 0 })
      }
      server.close()
      await once(server, "close")
    }
  })
})

describe("Effects that end while a gauge is reset again and again", () => {
  it.effect("leave it at 0", () =>
    Effect.gen(function* () {
      const { gauge } = unlabelled(clients[0]?.client ?? assert.fail())
      const run = Metrics.trackInProgress(Effect.yieldNow(), gauge)
      const exits = yield* Effect.forEach(
        Array.from({ length: 1_000 }, (_, at) => at),
        (at) =>
          (at % 10 === 0
            ? Effect.zipLeft(
                run,
                Effect.sync(() => gauge.reset())
              )
            : run
          ).pipe(Effect.exit),
        { concurrency: 100 }
      )
      assert.isTrue(exits.every(Exit.isSuccess))
      assert.deepStrictEqual(yield* Effect.promise(() => series(gauge)), { runs_in_progress: 0 })
    })
  )
})
