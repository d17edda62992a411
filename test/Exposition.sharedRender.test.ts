import { Buffer } from "node:buffer"
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Counter, Gauge, Registry as PromRegistry } from "prom-client"
import { checkDirectReads, registryReader } from "../src/core/client/directReadCheck.js"
import { acquire } from "../src/core/exposition/bufferPool.js"
import type { Rendered, RenderMode, RenderRequest } from "../src/core/exposition/renderRequest.js"
import { Cancellation } from "../src/core/exposition/renderRequest.js"
import { renderAlone, renderShared } from "../src/core/exposition/singleFlight.js"
import { now } from "../src/core/util/realTimers.js"
import { rawConnection, requestLines } from "./support/httpClient.js"
import { inPatientWorker, started } from "./support/servers.js"

await checkDirectReads()

const way: RenderMode = { isServed: true }

const within = (milliseconds: number): RenderRequest["deadline"] => {
  const at = now() + milliseconds
  return { at, patience: at }
}

const asking = (registry: PromRegistry) => {
  const owner = {}
  return (
    names?: ReadonlyArray<string>,
    deadline?: RenderRequest["deadline"],
    cancellation?: Cancellation
  ): Promise<Rendered | undefined> =>
    renderShared(owner, registryReader(registry), "text", { names, deadline, cancellation }, way)
}

const namesOf = (rendered: Rendered | undefined) => rendered?.families.map(({ name }) => name)

const textOf = async (rendered: Rendered | undefined): Promise<string> => {
  if (rendered === undefined) return "left"
  const text = Buffer.from(await rendered.source.bytesOf(rendered.families, "")).toString()
  rendered.done()
  return text
}

const block = (milliseconds: number): void => {
  for (const until = performance.now() + milliseconds; performance.now() < until; );
}

/** A counter of many pieces, each of which takes longer than a turn of the event loop has for it. */
const large = (registry: PromRegistry, name: string, pieces: number): void => {
  const counter = new Counter({ name, help: "h", labelNames: ["place"], registers: [registry] })
  for (let place = 0; place < 256 * pieces; place += 1) {
    const slow = {
      toString: () => {
        block(6)
        return `slow ${place}`
      }
    }
    counter.inc({ place: (place % 256 === 0 ? slow : place) as never })
  }
}

const blocking = (registry: PromRegistry, count: number, milliseconds: number): void => {
  for (let index = 0; index < count; index += 1) {
    new Gauge({ name: `block_${index}`, help: "h", registers: [registry], collect: () => block(milliseconds) })
  }
}

/** Turns of the event loop until it is so. */
const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn += 1) await nextTurn()
}

describe("Who shares the render of a registry", () => {
  const rows: ReadonlyArray<{
    readonly title: string
    readonly make: (registry: PromRegistry) => void
    readonly names: ReadonlyArray<string>
  }> = [
    { title: "a family beside a large one", make: (registry) => large(registry, "large_total", 60), names: ["tiny"] },
    {
      title: "the last of many large ones",
      make: (registry) => {
        for (let index = 0; index < 20; index += 1) large(registry, `large_${index}_total`, 3)
      },
      names: ["large_19_total", "tiny"]
    },
    { title: "a family beside collectors that block", make: (registry) => blocking(registry, 60, 6), names: ["tiny"] },
    {
      title: "the last of many collectors that block",
      make: (registry) => blocking(registry, 60, 6),
      names: ["block_59"]
    },
    { title: "no family that there is", make: (registry) => large(registry, "large_total", 60), names: ["unknown"] }
  ]
  for (const { make, names, title } of rows) {
    it.live(`and wants ${title} does not wait for the rest of it`, () =>
      Effect.promise(async () => {
        const registry = new PromRegistry()
        make(registry)
        new Gauge({ name: "tiny", help: "h", registers: [registry] })
        const ask = asking(registry)
        let isOver = false
        const whole = ask().then((rendered) => {
          isOver = true
          return rendered
        })
        await turns(12)
        const some = await ask(names)
        assert.isFalse(isOver)
        const expected = await textOf(await renderAlone(registryReader(registry), "text", { names }, way))
        assert.strictEqual(await textOf(some), expected)
        assert.strictEqual(
          await textOf(await whole),
          await textOf(await renderAlone(registryReader(registry), "text", { names: undefined }, way))
        )
      })
    )
  }

  for (const names of [undefined, ["large_total"], ["tiny", "large_total"]]) {
    it.live(`and wants ${names ?? "all of it"} is answered when its time is over, in the middle of a family`, () =>
      Effect.promise(async () => {
        const registry = new PromRegistry()
        large(registry, "large_total", 60)
        new Gauge({ name: "tiny", help: "h", registers: [registry] })
        const ask = asking(registry)
        const order: Array<string> = []
        const noted = (title: string) => (rendered: Rendered | undefined) => {
          order.push(title)
          return rendered
        }
        const [, late] = await Promise.all([
          ask().then(noted("whole")),
          ask(names, within(50)).then(noted("late")),
          ask(names).then(noted("patient"))
        ])
        assert.strictEqual(order[0], "late")
        assert.deepStrictEqual(late?.stopped, { names: ["large_total"], isWaiting: false })
      })
    )
  }

  it.live("is answered, however many come to it who have no time", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      blocking(registry, 20, 6)
      const ask = asking(registry)
      let isOver = false
      const whole = ask(undefined, within(20_000)).then((rendered) => {
        isOver = true
        return rendered
      })
      while (!isOver) {
        void ask(["block_0"], within(0))
        await nextTurn()
      }
      assert.strictEqual((await whole)?.stopped, undefined)
      assert.lengthOf(namesOf(await whole) ?? [], 20)
    })
  )

  it.live("is answered when it asks while the previous render ends", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      const gauge = new Gauge({ name: "tiny", help: "h", registers: [registry] })
      const ask = asking(registry)
      for (let steps = 0; steps < 16; steps += 1) {
        gauge.set(steps)
        assert.include(await textOf(await ask()), `tiny ${steps}\n`)
        const { done } = (await ask()) as Rendered
        for (let step = 0; step < steps; step += 1) await undefined
        gauge.set(100 + steps)
        const next = await Promise.race([ask().then(textOf), sleep(10_000, "never")])
        assert.include(next, `tiny ${100 + steps}\n`, `after ${steps} microtasks`)
        done()
      }
    })
  )

  for (const steps of [0, 1, 2, 4, 8]) {
    it.live(`gets a reading of its own ${steps} microtasks after the one before`, () =>
      Effect.promise(async () => {
        const registry = new PromRegistry()
        let value = 0
        const collect = function (this: Gauge) {
          this.set(value)
        }
        new Gauge({ name: "read", help: "h", registers: [registry], collect })
        for (const render of [
          () => renderAlone(registryReader(registry), "text", { names: undefined }, way),
          () => renderAlone(registryReader(registry), "openmetrics", { names: undefined }, way)
        ]) {
          for (let step = 0; step < steps; step += 1) await undefined
          value += 1
          assert.include(await textOf(await render()), `read ${value}\n`)
        }
      })
    )
  }

  it.live("gets what a metric has answered, though it is read anew before that is written", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      large(registry, "large_total", 40)
      const gates: Array<() => void> = []
      const collect = async function (this: Gauge<"a">) {
        this.inc({ a: "b" })
        await new Promise<void>((resolve) => void gates.push(resolve))
      }
      new Gauge({ name: "last", help: "h", labelNames: ["a"], registers: [registry], collect })
      const first = renderAlone(registryReader(registry), "text", { names: undefined }, way)
      while (gates.length < 1) await nextTurn()
      gates[0]?.()
      await turns(2)
      const second = renderAlone(registryReader(registry), "text", { names: ["last"] }, way)
      while (gates.length < 2) await nextTurn()
      assert.include(await textOf(await first), 'last{a="b"} 1\n')
      gates[1]?.()
      assert.include(await textOf(await second), 'last{a="b"} 2\n')
    })
  )

  it.live("keeps its memory until each of them is done with it, however often one says so", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      new Gauge({ name: "tiny", help: "h", registers: [registry] })
      const ask = asking(registry)
      const [one, other] = (await Promise.all([ask(), ask()])) as [Rendered, Rendered]
      assert.strictEqual(one.source, other.source)
      one.done()
      one.done()
      assert.isUndefined(acquire(registry))
      other.done()
      assert.isDefined(acquire(registry))
    })
  )

  it.live("leaves no waiting render behind if nothing is left that shares it", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      new Gauge({ name: "hanging", help: "h", registers: [registry], collect: () => new Promise<void>(() => {}) })
      const quick = new Counter({ name: "quick_total", help: "h", registers: [registry] })
      const ask = asking(registry)
      quick.inc()
      const cancellation = new Cancellation()
      const left = ask(undefined, undefined, cancellation)
      assert.include(await textOf(await ask(["quick_total"])), "quick_total 1\n")
      await turns(3)
      cancellation.cancel()
      assert.isUndefined(await left)
      await turns(3)
      quick.inc()
      assert.include(await textOf(await ask(["quick_total"])), "quick_total 2\n")
    })
  )

  it.live("gets numbers of its own time where many wait for what does not answer", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      let release = (): void => {}
      let asked = 0
      const collect = (): Promise<void> => {
        asked += 1
        return new Promise((resolve) => {
          release = resolve
        })
      }
      new Gauge({ name: "late", help: "h", registers: [registry], collect })
      const quick = new Counter({ name: "quick_total", help: "h", registers: [registry] })
      new Gauge({ name: "other", help: "h", registers: [registry] })
      const ask = asking(registry)
      const waiting: Array<Promise<string>> = []
      // Each of them is too late for the render of the one before.
      for (let count = 1; count <= 6; count += 1) {
        quick.inc()
        waiting.push(ask(count % 2 === 0 ? undefined : ["quick_total", "late"]).then(textOf))
        assert.include(await textOf(await ask(["quick_total"])), `quick_total ${count}\n`)
        await sleep(1_010)
        assert.include(await textOf(await ask(["quick_total"])), `quick_total ${count}\n`)
      }
      release()
      const texts = await Promise.all(waiting)
      assert.strictEqual(asked, 1)
      for (const [index, text] of texts.entries()) {
        const [, number] = /^quick_total (\d)$/m.exec(text) ?? []
        assert.isAtLeast(Number(number), index + 1)
        assert.include(text, "late 0\n")
        assert.strictEqual(text.includes("other 0\n"), index % 2 === 1)
      }
    })
  )

  it.live("counts all work that this thread did without yielding", () =>
    Effect.promise(async () => {
      const registry = new PromRegistry()
      const gauge = new Gauge({ name: "slow", help: "h", labelNames: ["a"], registers: [registry] })
      const slow = {
        toString: () => {
          block(40)
          return "slow"
        }
      }
      gauge.set({ a: slow as never }, 1)
      gauge.set({ a: "fine" }, 1)
      const rendered = await asking(registry)()
      assert.isAtLeast(rendered?.longestBlock ?? 0, 39)
    })
  )
})

describe("After what goes wrong in a render, the next one is right", () => {
  const fails = (): never => {
    throw new Error("no")
  }
  const rows: ReadonlyArray<{ readonly title: string; readonly spoil: (registry: PromRegistry) => () => void }> = [
    ...[1, 2].map((call) => ({
      title: `a registry that throws at call ${call}`,
      spoil: (registry: PromRegistry) => {
        const get = registry.getMetricsAsArray.bind(registry)
        let calls = 0
        registry.getMetricsAsArray = () => {
          calls += 1
          return calls === call ? fails() : get()
        }
        return () => {
          registry.getMetricsAsArray = get
        }
      }
    })),
    {
      title: "memory that there is not",
      spoil: () => {
        const allocate = Buffer.allocUnsafeSlow
        Buffer.allocUnsafeSlow = fails
        return () => {
          Buffer.allocUnsafeSlow = allocate
        }
      }
    },
    {
      title: "a label that throws",
      spoil: (registry) => {
        const gauge = new Gauge({ name: "odd", help: "h", labelNames: ["a"], registers: [registry] })
        const label = { toString: () => "fine" }
        gauge.set({ a: label as never }, 1)
        label.toString = fails
        return () => registry.removeSingleMetric("odd")
      }
    }
  ]
  for (const { spoil, title } of rows) {
    it.live(`after ${title}`, () =>
      Effect.promise(async () => {
        const registry = new PromRegistry()
        new Gauge({ name: "fine", help: "h", registers: [registry] })
        const ask = (names?: ReadonlyArray<string>) =>
          Promise.resolve().then(() => renderShared(registry, registryReader(registry), "text", { names }, way))
        const restore = spoil(registry)
        const results = await Promise.allSettled([ask(), ask(["fine"]), ask()])
        assert.lengthOf(results, 3)
        restore()
        for (let time = 0; time < 2; time += 1) {
          assert.strictEqual(await textOf(await ask()), "# HELP fine h\n# TYPE fine gauge\nfine 0\n")
        }
      })
    )
  }

  it.scopedLive(
    "all who share it get an answer where there is no memory to send it from this thread to the worker",
    () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const allocate = Buffer.allocUnsafeSlow
        let fails = false
        new Gauge({
          name: "late",
          help: "h",
          registers: [registry],
          collect: () => {
            if (!fails) return
            fails = false
            Buffer.allocUnsafeSlow = () => {
              Buffer.allocUnsafeSlow = allocate
              throw new RangeError("Array buffer allocation failed")
            }
          }
        })
        const server = yield* started(inPatientWorker, {}, { registry })
        const connection = yield* rawConnection(server.address.port)
        for (const status of [200, 200, 500, 200]) {
          fails = status === 500
          const before = (yield* connection.received(() => true)).split(`HTTP/1.1 ${status} `).length
          connection.send(requestLines("/metrics").repeat(3))
          yield* connection.received((text) => text.split(`HTTP/1.1 ${status} `).length >= before + 3)
        }
      })
  )
})
