import { types } from "node:util"
import { assert, describe, it, vi } from "@effect/vitest"
import { instrumented } from "../src/Promises.js"
import { fakes } from "./support/metrics.js"

const failure = new RangeError("half way")

function* sync(steps: { readonly fail?: boolean }) {
  yield 1
  if (steps.fail) throw failure
  yield 2
  return "end"
}

async function* asynchronous(steps: { readonly fail?: boolean }) {
  yield* sync(steps)
  return "end"
}

type Steps = (steps: { readonly fail?: boolean }) => Generator<number, string> | AsyncGenerator<number, string>

const makers: Readonly<Record<string, Steps>> = {
  "a generator": sync,
  "an async generator": asynchronous,
  "a generator of a bound function": sync.bind(null),
  "an async generator of a Proxy": new Proxy(asynchronous, {}),
  "a generator that a function gives": (steps) => sync(steps),
  "an async generator that a function gives": (steps) => asynchronous(steps),
  "a generator of a function with properties": Object.assign((steps: object) => sync(steps), { timeout: 1 }),
  "a generator of a frozen function": Object.freeze(sync.bind(null))
}

const measured = (fn: Steps) => {
  const metrics = fakes()
  const gen = instrumented(metrics)(fn)
  const seen = () => ({
    observed: metrics.duration.observed.length,
    failed: metrics.exceptions.counted,
    running: metrics.inProgress.value
  })
  return { ...metrics, gen, seen }
}

/** What happens to a generator: what it gives to its user, and what is counted of it. */
interface Way {
  readonly title: string
  readonly use: (generator: Generator<number, string> | AsyncGenerator<number, string>) => Promise<unknown>
  readonly fail?: boolean
  readonly counted: { readonly observed: number; readonly failed: number; readonly running: number }
}

const once = { observed: 1, failed: 0, running: 0 }
const none = { observed: 0, failed: 0, running: 0 }

const ways: ReadonlyArray<Way> = [
  {
    title: "read to its end",
    use: async (generator) => {
      const seen: Array<number> = []
      for await (const x of generator) seen.push(x)
      return seen
    },
    counted: once
  },
  {
    title: "asked by hand, and once more after its end",
    use: async (generator) => [
      await generator.next(),
      await generator.next(),
      await generator.next(),
      await generator.next()
    ],
    counted: once
  },
  {
    title: "left early",
    use: async (generator) => {
      for await (const x of generator) return x
      return undefined
    },
    counted: once
  },
  { title: "never read", use: async () => "nothing", counted: none },
  {
    title: "left before it was read",
    use: async (generator) => [await generator.return("left"), await generator.next()],
    counted: none
  },
  {
    title: "thrown into before it was read",
    use: async (generator) =>
      [await Promise.allSettled([generator.throw(failure)].map(async (x) => x)), await generator.next()].length,
    counted: none
  },
  {
    title: "thrown into",
    use: async (generator) => {
      await generator.next()
      return (async () => generator.throw(failure))().catch((error) => error)
    },
    counted: { observed: 1, failed: 1, running: 0 }
  },
  {
    title: "failing half way",
    fail: true,
    use: async (generator) => {
      const seen: Array<unknown> = []
      try {
        for await (const x of generator) seen.push(x)
      } catch (error) {
        seen.push(error)
      }
      return seen
    },
    counted: { observed: 1, failed: 1, running: 0 }
  },
  {
    title: "read half way",
    use: async (generator) => generator.next(),
    counted: { observed: 0, failed: 0, running: 1 }
  }
]

for (const [kind, fn] of Object.entries(makers)) {
  describe(`A measured run of ${kind}`, () => {
    for (const { counted, fail = false, title, use } of ways) {
      if (title === "thrown into before it was read" && kind.startsWith("a generator")) continue
      it(`is the same and is counted from its first next to its end: ${title}`, async () => {
        const { gen, seen } = measured(fn)
        assert.deepStrictEqual(await use(gen({ fail })), await use(fn({ fail })))
        assert.deepStrictEqual(seen(), counted)
      })
    }

    it("has the prototype and the brand of its function's generators", () => {
      const { gen } = measured(fn)
      const [generator, original] = [gen({}), fn({})]
      assert.strictEqual(Object.getPrototypeOf(generator), Object.getPrototypeOf(original))
      assert.strictEqual(Object.prototype.toString.call(generator), Object.prototype.toString.call(original))
      assert.deepStrictEqual(Reflect.ownKeys(generator), [])
      assert.isTrue(types.isGeneratorObject(generator))
    })
  })
}

describe("A measured generator", () => {
  it("is an instance of its function, and has what is on its prototype", () => {
    const gen = function* () {
      yield 1
    } as unknown as { (): Generator<number>; prototype: { twice?: (this: Generator<number>) => number } }
    gen.prototype.twice = function () {
      return 2 * this.next().value
    }
    const measured = instrumented(fakes())(gen)
    const generator = measured() as Generator<number> & { twice(): number }
    assert.isTrue((generator as object) instanceof (measured as unknown as new () => object))
    assert.isTrue((generator as object) instanceof (gen as unknown as new () => object))
    assert.strictEqual(generator.twice(), 2)
  })

  it("passes on what is sent and thrown in, and what it returns, also through a yield*", () => {
    const { duration, exceptions } = fakes()
    const echo = instrumented({ duration, exceptions })(function* (): Generator<string, string, string> {
      let last = "start"
      for (;;) {
        try {
          last = yield last
          if (last === "stop") return "stopped"
        } catch (error) {
          last = `caught ${error}`
        }
      }
    })
    const outer = function* () {
      return yield* echo()
    }
    const generator = outer()
    const seen = [
      generator.next("unseen"),
      generator.next("a"),
      generator.throw("b"),
      generator.next("stop"),
      generator.next("after")
    ].map(({ value }) => value)
    assert.deepStrictEqual(seen, ["start", "a", "caught b", "stopped", undefined])
    assert.strictEqual(duration.observed.length, 1)
    assert.strictEqual(exceptions.counted, 0)
  })

  it("runs the finally of its body when it is left, and is over when that has given its last", () => {
    const { duration, inProgress } = fakes()
    const gen = instrumented({ duration, inProgress })(function* () {
      try {
        yield 1
      } finally {
        yield 2
      }
    })
    const generator = gen()
    generator.next()
    assert.deepStrictEqual(generator.return(), { value: 2, done: false })
    assert.strictEqual(inProgress.value, 1)
    assert.deepStrictEqual(generator.next(), { value: undefined, done: true })
    assert.strictEqual(inProgress.value, 0)
    assert.strictEqual(duration.observed.length, 1)
  })

  it("evaluates the parameters, this and the errors of its function at the call", () => {
    const evaluated = vi.fn(() => 1)
    const refuse = (): never => {
      throw failure
    }
    const service = {
      run: instrumented(fakes())(function* (this: unknown, _a: number, b = evaluated()) {
        yield [this, _a, b]
      }),
      refuses: instrumented(fakes())(function* (_a = refuse()) {})
    }
    const generator = service.run(7)
    assert.strictEqual(evaluated.mock.calls.length, 1)
    assert.deepStrictEqual(generator.next().value, [service, 7, 1])
    assert.throws(() => service.refuses(), RangeError)
  })

  it("that is async answers questions that are asked at once in their order", async () => {
    const { duration, inProgress } = fakes()
    const gen = instrumented({ duration, inProgress })(async function* () {
      for (let i = 1; i <= 3; i += 1) {
        await undefined
        yield i
      }
    })
    const generator = gen()
    const answers = await Promise.all([
      generator.next(),
      generator.next(),
      generator.return(undefined),
      generator.next()
    ])
    assert.deepStrictEqual(answers, [
      { value: 1, done: false },
      { value: 2, done: false },
      { value: undefined, done: true },
      { value: undefined, done: true }
    ])
    assert.strictEqual(duration.observed.length, 1)
    assert.deepStrictEqual(inProgress.history, [1, 0])
  })

  it("is one run, also where a function gives it again", () => {
    const { duration } = fakes()
    const shared = sync({})
    const same = instrumented({ duration })(() => shared)
    assert.strictEqual(same(), same())
    assert.deepStrictEqual([...same()], [1, 2])
    assert.strictEqual(duration.observed.length, 1)
  })

  for (const [kind, make] of Object.entries({
    "a generator": () => sync({}),
    "an async one": () => asynchronous({})
  })) {
    it(`has the methods and the state of its own: ${kind}`, async () => {
      const { duration, inProgress } = fakes()
      const closing = Symbol("closing")
      const gen = instrumented({ duration, inProgress })(() => {
        const generator = make()
        const next = generator.next.bind(generator)
        return Object.assign(generator, {
          page: 7,
          cancel: () => generator.return("end"),
          [closing]: () => "closed",
          next
        })
      })
      const generator = gen()
      assert.strictEqual(generator.page, 7)
      assert.strictEqual(generator[closing](), "closed")
      await generator.next()
      assert.strictEqual(inProgress.value, 1)
      await generator.cancel()
      assert.deepInclude(await generator.next(), { done: true })
      assert.strictEqual(inProgress.value, 0)
      assert.strictEqual(duration.observed.length, 1)
    })
  }

  it("is measured by each of the combinators around it, and as a method", () => {
    const [first, second] = [fakes(), fakes()]
    class Shop {
      @instrumented(first)
      @instrumented(second)
      *orders() {
        yield this
      }
    }
    const shop = new Shop()
    assert.deepStrictEqual([...shop.orders()], [shop])
    assert.deepStrictEqual(first.inProgress.history, [1, 0])
    assert.deepStrictEqual(second.inProgress.history, [1, 0])
  })
})
