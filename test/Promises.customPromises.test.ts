// biome-ignore-all lint/suspicious/noThenProperty: thenables, also those that misbehave, are what is tested
import { createHook } from "node:async_hooks"
import { types } from "node:util"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { instrumented } from "../src/Promises.js"
import { runFixture } from "./support/childProcess.js"
import { fakes } from "./support/metrics.js"

const failure = new RangeError("refused")

/** A function whose results are what `make` gives, and what is counted of them. */
const measuring = <A>(make: () => A) => {
  const metrics = fakes()
  return {
    ...metrics,
    call: instrumented(metrics)(make),
    seen: () => ({
      observed: metrics.duration.observed.length,
      failed: metrics.exceptions.counted,
      history: metrics.inProgress.history
    })
  }
}

const succeeded = { observed: 1, failed: 0, history: [1, 0] }
const failed = { observed: 1, failed: 1, history: [1, 0] }
const nothing = { observed: 0, failed: 0, history: [1, 0] }

/** The reasons of the rejections that are not handled while `run` runs and soon after. */
const unhandledOf = async (run: () => unknown): Promise<ReadonlyArray<unknown>> => {
  const reasons: Array<unknown> = []
  const others = process.listeners("unhandledRejection")
  process.removeAllListeners("unhandledRejection")
  process.on("unhandledRejection", (reason) => reasons.push(reason))
  await run()
  await new Promise(setImmediate)
  process.removeAllListeners("unhandledRejection")
  for (const other of others) process.on("unhandledRejection", other)
  return reasons
}

interface Catching {
  catch(
    ...args: [handle: (reason: unknown) => unknown] | [of: typeof RangeError, handle: (reason: unknown) => unknown]
  ): Promise<unknown>
  then(resolve: unknown, reject: (reason: unknown) => void): void
}

const resolving = (resolve: (value: number) => void) => resolve(1)

/** As SDKs have them: its methods and its `then` share one request, and its own state is not that of the answer. */
class SdkPromise extends Promise<string> {
  #parsed: Promise<string> | undefined
  parsed = 0
  constructor(private readonly response: Promise<string>) {
    super((resolve) => resolve(null as never))
  }
  #parse() {
    this.#parsed ??= this.response.then((text) => {
      this.parsed += 1
      return text.toUpperCase()
    })
    return this.#parsed
  }
  asResponse() {
    return this.response
  }
  async withResponse() {
    return [await this.#parse(), await this.asResponse()] as const
  }
  override then<A = string, B = never>(
    onFulfilled?: ((value: string) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null
  ): Promise<A | B> {
    return this.#parse().then(onFulfilled, onRejected)
  }
}

/** As query builders have them: each `then` is one more execution. */
class Query {
  executed = 0
  readonly parts: Array<string> = []
  constructor(
    readonly error?: Error,
    private readonly work: () => unknown = () => undefined
  ) {}
  where(part: string) {
    this.parts.push(part)
    return this
  }
  async exec() {
    this.executed += 1
    await this.work()
    if (this.error) throw this.error
    return this.parts.join()
  }
  then<A, B>(onFulfilled: (rows: string) => A, onRejected: (reason: unknown) => B) {
    return this.exec().then(onFulfilled, onRejected)
  }
  catch<B>(onRejected: (reason: unknown) => B) {
    return this.exec().catch(onRejected)
  }
  clone() {
    const query = new Query(this.error)
    query.parts.push(...this.parts)
    return query
  }
}

describe("A promise of a measured function that has methods and state of its own", () => {
  const cancellable = () => {
    const { promise, reject } = (() => {
      let reject: (reason: unknown) => void = () => {}
      return { promise: new Promise<number>((_, no) => (reject = no)), reject }
    })()
    return Object.assign(promise, {
      state: "running",
      cancel(this: { state: string }) {
        this.state = "cancelled"
        reject(failure)
      }
    })
  }

  it("is itself: its methods act on it, and it is measured once", async () => {
    const promise = cancellable()
    const { call, seen } = measuring(() => promise)
    const result = call()
    assert.strictEqual(result, promise)
    result.cancel()
    assert.strictEqual(promise.state, "cancelled")
    assert.strictEqual(await result.catch((error) => error), failure)
    assert.deepStrictEqual(seen(), failed)
  })

  it("is still a promise to every check", () => {
    const keys = Reflect.ownKeys(cancellable())
    const result = measuring(cancellable).call()
    assert.instanceOf(result, Promise)
    assert.isTrue(types.isPromise(result))
    assert.strictEqual(Object.prototype.toString.call(result), "[object Promise]")
    assert.strictEqual(result.constructor, Promise)
    assert.strictEqual(Promise.resolve(result), result)
    assert.strictEqual(result.then, Promise.prototype.then)
    assert.deepStrictEqual(Reflect.ownKeys(result), keys)
    const seen: Array<string> = []
    for (const key in result) seen.push(key)
    assert.deepStrictEqual(seen, keys)
    assert.strictEqual(result.then.name, "then")
    assert.strictEqual(result.then.length, 2)
  })

  it("is measured when it is ignored", async () => {
    const { call, seen } = measuring(() => Object.assign(Promise.resolve(1), { cancel() {} }))
    void call()
    await new Promise(setImmediate)
    assert.deepStrictEqual(seen(), succeeded)
  })

  it("of a derived class keeps its methods and private fields, and no other instance is made", async () => {
    let made = 0
    class Upload extends Promise<number> {
      readonly #bytes = 3
      constructor(executor: ConstructorParameters<typeof Promise<number>>[0]) {
        super(executor)
        made += 1
      }
      get bytes() {
        return this.#bytes
      }
    }
    const { call, seen } = measuring(() => new Upload((resolve) => resolve(1)))
    const result = call()
    assert.strictEqual(result.bytes, 3)
    assert.instanceOf(result, Upload)
    await new Promise(setImmediate)
    assert.strictEqual(made, 1)
    assert.deepStrictEqual(seen(), succeeded)
    assert.instanceOf(
      result.then((n) => n),
      Upload
    )
  })

  it("may have one that is named by a symbol alone", async () => {
    const closing = Symbol("closing")
    const { call } = measuring(() => Object.assign(Promise.resolve(1), { [closing]: () => "closed" }))
    assert.strictEqual(call()[closing](), "closed")
  })

  it("is itself, and measured once, where it is given", async () => {
    const { duration, exceptions, inProgress, seen } = measuring(cancellable)
    const promise = cancellable()
    const measured = instrumented({ duration, exceptions, inProgress }, promise)
    assert.strictEqual(measured, promise)
    promise.cancel()
    assert.strictEqual(await measured.catch((error) => error), failure)
    assert.deepStrictEqual(seen(), failed)
  })

  it("of a class with a then of its own is followed by one of that class, where it is given", async () => {
    class Upload extends Promise<number> {
      override then<A = number, B = never>(...args: Parameters<Promise<number>["then"]>): Promise<A | B> {
        return super.then(...args) as Promise<A | B>
      }
    }
    const measured = instrumented(fakes(), Upload.resolve(1))
    assert.instanceOf(measured, Upload)
    assert.strictEqual(await measured, 1)
  })

  it("with a then of its own has no unhandled rejection where that is handled", async () => {
    const promise = Promise.reject(failure)
    const { call, seen } = measuring(() =>
      Object.assign(promise, { cancel() {}, then: promise.then.bind(promise) as typeof promise.then })
    )
    const unhandled = await unhandledOf(() => call().then(undefined, () => {}))
    assert.deepStrictEqual(unhandled, [])
    assert.deepStrictEqual(seen(), failed)
  })

  it("may get another constructor", async () => {
    class Other extends Promise<number> {}
    const result = measuring(() => Object.assign(Promise.resolve(1), { cancel() {} })).call()
    result.constructor = Other
    assert.deepStrictEqual(Object.keys(result), ["cancel", "constructor"])
    const next = result.then((n) => n)
    assert.instanceOf(next, Other)
    assert.strictEqual(await next, 1)
  })

  it("calls the then that is there at the call", async () => {
    class Upload extends Promise<number> {}
    const result = measuring(() => Upload.resolve(1)).call()
    const { then: original } = Promise.prototype
    const log: Array<string> = []
    Promise.prototype.then = function (this: Promise<unknown>, ...args) {
      if (this === result) log.push("replaced")
      return Reflect.apply(original, this, args)
    } as typeof original
    const next = result.then((n) => n)
    Promise.prototype.then = original
    assert.deepStrictEqual(log, ["replaced"])
    assert.strictEqual(await next, 1)
  })

  it("that is frozen has its methods too", async () => {
    const { call, seen } = measuring(() => Object.freeze(Object.assign(Promise.resolve(1), { cancel: () => "done" })))
    const result = call()
    assert.strictEqual(result.cancel(), "done")
    assert.strictEqual(await result, 1)
    assert.deepStrictEqual(seen(), succeeded)
  })

  for (const times of [1, 2, 3]) {
    it(`is measured once by each of ${times} combinators around it`, async () => {
      const all = Array.from({ length: times }, () => fakes())
      const promise = Object.assign(Promise.reject(failure), { cancel() {} })
      const call = all.reduce(
        (fn, metrics) => instrumented(metrics)(fn),
        () => promise
      )
      const unhandled = await unhandledOf(() => void call())
      assert.deepStrictEqual(unhandled, [failure])
      assert.strictEqual(call(), promise)
      assert.strictEqual(await promise.catch((error) => error), failure)
      for (const { duration, exceptions, inProgress } of all) {
        assert.strictEqual(duration.observed.length, 2)
        assert.strictEqual(exceptions.counted, 2)
        assert.strictEqual(inProgress.value, 0)
      }
    })
  }
})

describe("A promise of a measured function without methods and state of its own", () => {
  it("of another realm is measured until it settles", async () => {
    const { call, seen } = measuring(() =>
      runInNewContext("new Promise((resolve) => turn(() => resolve(1)))", { turn: setImmediate })
    )
    const result = call()
    assert.deepStrictEqual(seen().history, [1])
    assert.strictEqual(await result, 1)
    assert.deepStrictEqual(seen(), succeeded)
  })

  it("is followed by another one, also where Node.js keeps something on each promise", async () => {
    const hook = createHook({ init() {} }).enable()
    try {
      const cached = Promise.resolve(1)
      const result = measuring(() => cached).call()
      assert.notStrictEqual(result, cached)
      assert.strictEqual(Object.getPrototypeOf(result), Promise.prototype)
    } finally {
      hook.disable()
    }
  })

  it("is rejected for all callers that are given the same one, and handled by one of them", async () => {
    const cached = Promise.reject(failure)
    const { call, seen } = measuring(() => cached)
    const unhandled = await unhandledOf(() => {
      call().catch(() => {})
      void call()
    })
    assert.deepStrictEqual(unhandled, [])
    assert.deepInclude(seen(), { observed: 2, failed: 2 })
  })

  it("is the same one each time where the function gives the same one, and each call is measured", async () => {
    const cached = Promise.resolve({ a: 1 })
    const { call, seen } = measuring(() => cached)
    assert.strictEqual(call(), call())
    assert.strictEqual(await call(), await cached)
    assert.deepInclude(seen(), { observed: 3, failed: 0 })
  })
})

describe("A promise of an SDK, whose then is its own", () => {
  class NamedAsNative extends SdkPromise {}
  Object.defineProperty(NamedAsNative.prototype, Symbol.toStringTag, { value: "Promise" })
  const sdk = (response = Promise.resolve("ok"), Sdk = SdkPromise) => measuring(() => new Sdk(response))
  const refused = (Sdk = SdkPromise) => {
    const response = Promise.reject(failure)
    response.catch(() => {})
    return sdk(response, Sdk)
  }

  for (const { counted, make = sdk, title, use } of [
    { title: "awaited", use: async (result: SdkPromise) => assert.strictEqual(await result, "OK"), counted: succeeded },
    {
      title: "used with its response",
      use: async (result: SdkPromise) => assert.deepStrictEqual(await result.withResponse(), ["OK", "ok"]),
      counted: succeeded
    },
    {
      title: "used for its response alone, which is not parsed",
      use: async (result: SdkPromise) => {
        assert.strictEqual(await result.asResponse(), "ok")
        assert.strictEqual(result.parsed, 0)
      },
      counted: succeeded
    },
    {
      title: "used and then awaited",
      use: async (result: SdkPromise) => {
        await result.asResponse()
        assert.strictEqual(await result, "OK")
        assert.strictEqual(result.parsed, 1)
      },
      counted: succeeded
    },
    {
      title: "rejected",
      make: () => refused(),
      use: async (result: SdkPromise) => assert.strictEqual(await result.catch((error) => error), failure),
      counted: failed
    },
    {
      title: "rejected, of a class that has the name of JavaScript's own",
      make: () => refused(NamedAsNative),
      use: async (result: SdkPromise) => assert.strictEqual(await result.catch((error) => error), failure),
      counted: failed
    },
    {
      title: "rejected where it is used",
      make: () => refused(),
      use: async (result: SdkPromise) =>
        assert.strictEqual(await result.withResponse().catch((error) => error), failure),
      counted: failed
    }
  ]) {
    it(`is itself and is measured once: ${title}`, async () => {
      const { call, seen } = make()
      const result = call()
      assert.instanceOf(result, SdkPromise)
      assert.isTrue(types.isPromise(result))
      await use(result)
      await new Promise(setImmediate)
      assert.deepStrictEqual(seen(), counted)
    })
  }
})

describe("A thenable that may be lazy", () => {
  const rows: ReadonlyArray<{
    readonly title: string
    readonly use: (query: Query) => Promise<unknown>
    readonly executed: number
    readonly error?: Error
    readonly counted: ReturnType<ReturnType<typeof measuring>["seen"]>
  }> = [
    { title: "awaited", use: async (query) => query, executed: 1, counted: succeeded },
    {
      title: "built further and awaited",
      use: async (query) => query.where("a").where("b"),
      executed: 1,
      counted: succeeded
    },
    { title: "executed by its method", use: (query) => query.where("a").exec(), executed: 1, counted: succeeded },
    { title: "given to Promise.all", use: (query) => Promise.all([query]), executed: 1, counted: succeeded },
    { title: "never executed", use: async () => undefined, executed: 0, counted: nothing },
    {
      title: "used within another one",
      use: async (query) => new Query().where(query.parts.join()),
      executed: 0,
      counted: nothing
    },
    {
      title: "awaited later",
      use: async (query) => {
        await new Promise(setImmediate)
        return query
      },
      executed: 1,
      counted: { observed: 1, failed: 0, history: [1, 0, 1, 0] }
    },
    { title: "awaited twice", use: async (query) => [await query, await query], executed: 2, counted: succeeded },
    { title: "failing", use: async (query) => query, error: failure, executed: 1, counted: failed },
    {
      title: "failing, with a handler",
      use: (query) => query.catch(() => 1),
      error: failure,
      executed: 1,
      counted: failed
    },
    {
      title: "failing, with a handler of its value alone",
      use: async (query) => query.then((rows) => rows, undefined as never),
      error: failure,
      executed: 1,
      counted: failed
    },
    {
      title: "given a handler of its failure alone",
      use: async (query) => query.then(undefined as never, () => 1),
      executed: 1,
      counted: succeeded
    },
    {
      title: "failing by its method",
      use: (query) => query.exec().catch(() => 1),
      error: failure,
      executed: 1,
      counted: failed
    }
  ]
  for (const { counted, error, executed, title, use } of rows) {
    it(`is itself, is executed as often as without, and is measured once: ${title}`, async () => {
      const query = new Query(error)
      const { call, seen } = measuring(() => query)
      assert.strictEqual(call(), query)
      const [outcome] = await Promise.allSettled([use(query)])
      const [expected] = await Promise.allSettled([use(new Query(error))])
      if (title !== "used within another one") assert.deepStrictEqual(outcome, expected)
      await new Promise(setImmediate)
      assert.strictEqual(query.executed, executed)
      assert.deepStrictEqual(seen(), counted)
    })
  }

  it("is measured where a copy of it is executed", async () => {
    const { call, seen } = measuring(() => new Query())
    assert.strictEqual(await call().where("a").clone().where("b"), "a,b")
    assert.deepStrictEqual(seen(), succeeded)
  })

  const turn = () => new Promise(setImmediate)

  it("is in progress as long as it takes", async () => {
    const { call, inProgress, seen } = measuring(() => new Query(undefined, turn))
    const running = (async () => call())()
    await Promise.resolve().then(() => new Promise(process.nextTick))
    assert.deepStrictEqual(inProgress.history, [1])
    await running
    assert.deepStrictEqual(seen(), succeeded)
  })

  it("is in progress each time it is executed later, and not in between", async () => {
    const query = new Query(undefined, turn)
    const { call, inProgress, seen } = measuring(() => query)
    call()
    await turn()
    assert.deepStrictEqual(inProgress.history, [1, 0])
    const executions = [query.exec(), query.exec()]
    assert.deepStrictEqual(inProgress.history, [1, 0, 1])
    await Promise.all(executions)
    assert.deepStrictEqual(seen(), { observed: 1, failed: 0, history: [1, 0, 1, 0] })
  })

  it("is one run where it is given again before it is awaited", async () => {
    const query = new Query()
    const { call, seen } = measuring(() => query)
    call()
    await turn()
    call()
    await turn()
    await query
    assert.deepStrictEqual(seen(), { observed: 1, failed: 0, history: [1, 0, 1, 0, 1, 0] })
  })

  it("is one run of each of the functions that give it", async () => {
    const query = new Query()
    const all = [measuring(() => query), measuring(() => query)]
    for (const { call } of all) {
      call()
      await turn()
    }
    await query
    for (const { seen } of all) assert.deepStrictEqual(seen(), { observed: 1, failed: 0, history: [1, 0, 1, 0] })
  })

  for (const { after, history } of [
    { after: async () => {}, history: [1, 0] },
    { after: turn, history: [1, 0] }
  ]) {
    it(`is over when its catch calls back, ${after === turn ? "later" : "at once"}, and is then awaited`, async () => {
      const deferred = {
        catch(onRejected: (reason: unknown) => void) {
          onRejected(failure)
          return this
        },
        then: (_: unknown, onRejected: (reason: unknown) => void) => onRejected(failure)
      }
      const { call, seen } = measuring(() => deferred)
      const result = call()
      await after()
      result.catch(() => {})
      await turn()
      assert.strictEqual(await Promise.resolve(result).catch((error) => error), failure)
      assert.deepStrictEqual(seen(), { observed: 1, failed: 1, history })
    })
  }

  for (const { fails } of [{ fails: false }, { fails: true }]) {
    it(`is measured to the end of its then, though another method has ${fails ? "failed" : "ended"} before`, async () => {
      const { call, seen } = measuring(() => ({
        peek: () => turn().then(() => (fails ? Promise.reject(failure) : undefined)),
        then: (resolve: (value: string) => void) =>
          void turn()
            .then(turn)
            .then(() => resolve("end"))
      }))
      const result = call()
      const peeked = result.peek()
      const awaited = Promise.resolve(result)
      await Promise.allSettled([peeked])
      assert.deepStrictEqual(seen(), { observed: 0, failed: 0, history: [1] })
      assert.strictEqual(await awaited, "end")
      assert.deepStrictEqual(seen(), succeeded)
    })
  }

  for (const [title, make] of Object.entries({
    "a function": () => Object.assign(() => "called", { then: resolving }),
    "a plain object": () => ({ then: resolving }),
    "an object with the prototype of promises": () =>
      Object.create(Promise.prototype, {
        then: { value: resolving, configurable: true, writable: true },
        constructor: { value: Promise }
      })
  })) {
    it(`may be ${title}, which stays one`, async () => {
      const original = make()
      const prototype = Object.getPrototypeOf(original)
      const { call, seen } = measuring(() => original)
      const result = call()
      assert.strictEqual(result, original)
      assert.strictEqual(Object.getPrototypeOf(result), prototype)
      assert.deepStrictEqual(seen().history, [1])
      assert.strictEqual(await new Promise((resolve) => result.then(resolve)), 1)
      assert.deepStrictEqual(seen(), succeeded)
    })
  }

  for (const key of ["exec", "then"] as const) {
    it(`is executed by what is in the place of the method at the call, such as a stub: ${key}`, async () => {
      class Stubbed extends Query {}
      const { call, seen } = measuring(() => new Stubbed())
      assert.strictEqual(await call(), "")
      const stub = {
        exec: async () => "stub",
        then: (resolve: (rows: string) => void) => resolve("stub")
      }
      Object.assign(Stubbed.prototype, { [key]: stub[key] })
      assert.strictEqual(await call(), "stub")
      Reflect.deleteProperty(Stubbed.prototype, key)
      assert.strictEqual(await call(), "")
      assert.strictEqual(seen().observed, 3)
    })
  }

  it("gets the handlers of its user as they are, but for those that end the run", async () => {
    const given: Array<ReadonlyArray<unknown>> = []
    const { call, seen } = measuring(() => ({
      then(...args: ReadonlyArray<(value: unknown) => void>) {
        given.push(args)
        args[0]?.(1)
      }
    }))
    const result = call()
    const handlers = [() => {}, () => {}, () => {}]
    result.then(...handlers)
    result.then(...handlers)
    assert.deepStrictEqual(given[0]?.slice(2), handlers.slice(2))
    assert.deepStrictEqual(given[1], handlers)
    assert.deepStrictEqual(seen(), succeeded)
  })

  it("has what hides a method of a class above its own, and its constructor", () => {
    class Closed extends Query {}
    Object.defineProperty(Closed.prototype, "exec", { get: () => "closed" })
    assert.strictEqual(measuring(() => new Closed()).call().exec as unknown, "closed")
    const Old = new Function() as unknown as new () => Query
    Object.setPrototypeOf(Old.prototype, Query.prototype)
    assert.strictEqual(measuring(() => new Old()).call().constructor, Old)
  })

  for (const [title, handle] of Object.entries({
    "a handler": (result: Catching) => result.catch(() => "caught"),
    "a class and a handler, as those of Bluebird": (result: Catching) => result.catch(RangeError, () => "caught")
  })) {
    it(`is rejected where its catch is called with ${title}`, async () => {
      const { call, seen } = measuring(
        (): Catching => ({
          catch: async (...args) =>
            args.length === 1 ? args[0](failure) : failure instanceof args[0] && args[1](failure),
          then: (_, reject) => reject(failure)
        })
      )
      assert.strictEqual(await handle(call()), "caught")
      await turn()
      assert.deepStrictEqual(seen(), title === "a handler" ? failed : succeeded)
    })
  }

  it("has the classes that it had, as the queries of mongoose have their model", () => {
    class Model {}
    const Old = new Function() as unknown as { readonly prototype: object }
    Object.assign(Old.prototype, { save() {} })
    class ModelQuery extends Query {
      readonly model = Model
      readonly old = Old
      declare readonly Base: typeof Model
    }
    Object.assign(ModelQuery.prototype, { Base: Model })
    const { Base, model, old } = measuring(() => new ModelQuery()).call()
    assert.strictEqual(model, Model)
    assert.strictEqual(Base, Model)
    assert.strictEqual(old, Old)
  })

  it("may have its methods as properties, as Prisma's have", async () => {
    const { call, seen } = measuring(() => ({
      then: (onFulfilled: (value: number) => unknown) => Promise.resolve(1).then(onFulfilled),
      requestTransaction: () => Promise.resolve("in a transaction")
    }))
    assert.strictEqual(await call().requestTransaction(), "in a transaction")
    assert.deepStrictEqual(seen(), succeeded)
  })

  it("that cannot be observed ends when it is returned, and is unchanged", async () => {
    const { call, seen } = measuring(() => Object.freeze({ then: (resolve: (value: number) => void) => resolve(1) }))
    const result = call()
    assert.deepStrictEqual(seen(), succeeded)
    assert.strictEqual(await result, 1)
    assert.deepStrictEqual(seen(), succeeded)
  })
})

describe("A process", () => {
  it.scopedLive("sees the same unhandled rejections with and without each measurement", () =>
    Effect.gen(function* () {
      const { code, stderr, stdout } = yield* runFixture("unhandledRejections.mjs")
      assert.strictEqual(code, 0, stderr)
      const rows: Readonly<Record<string, { before: Array<string>; measured: Array<string>; counts: object }>> =
        JSON.parse(stdout)
      assert.isAbove(Object.keys(rows).length, 20)
      for (const [title, { before, counts, measured }] of Object.entries(rows)) {
        assert.deepStrictEqual(measured, before, title)
        const isRun = title !== "a lazy thenable, ignored"
        assert.deepStrictEqual(counts, { observed: isRun ? 1 : 0, failed: isRun ? 1 : 0, running: 0 }, title)
      }
    })
  )
})
