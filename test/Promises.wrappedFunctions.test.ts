import { promisify, types } from "node:util"
import { runInNewContext } from "node:vm"
import { assert, describe, it } from "@effect/vitest"
import "reflect-metadata"
import ts from "typescript"
import { instrumented, timed } from "../src/Promises.js"
import { FakeObserver, fakes } from "./support/metrics.js"

type AnyFunction = (this: unknown, ...args: Array<never>) => unknown

const wrapped = <F>(fn: F): F => timed(new FakeObserver())(fn as AnyFunction) as F

const kinds: Readonly<Record<string, AnyFunction>> = {
  "a function": function load() {},
  "a sloppy function": new Function("a", "b", "return a") as AnyFunction,
  "an arrow function": (_: never) => 1,
  "a method": { load(_: never) {} }.load,
  "a method that is named class": { class(_: never) {} }.class,
  "an async function": async function load() {},
  "an async arrow function": async () => 1,
  "an async method": { async load(_a: never, _b: never) {} }.load,
  "a generator function": function* load() {},
  "a generator method": { *load() {} }.load,
  "an async generator function": async function* load() {},
  "an async function of another realm": runInNewContext("(async () => 1)"),
  "a bound function": function load(this: unknown, _: never) {}.bind(1) as AnyFunction,
  "a bound async function": async function load() {}.bind(1),
  "a built-in function": Array.prototype.map as unknown as AnyFunction,
  "a built-in constructor": Date as unknown as AnyFunction,
  "a function with properties": Object.assign(function load() {}, { timeout: 1, [Symbol("key")]: 2 }),
  "an async function with properties": Object.assign(async () => 1, { timeout: 1 }),
  "a function with an accessor": Object.defineProperty(() => 1, "timeout", { get: () => 1, configurable: true }),
  "a frozen function": Object.freeze(function load() {}),
  "a frozen async function": Object.freeze(Object.assign(async () => 1, { timeout: 1 })),
  "a sealed function": Object.seal(Object.assign(() => 1, { timeout: 1 })),
  "an async function that is not extensible": Object.preventExtensions(async () => 1),
  "an arrow function with a prototype": Object.assign(() => 1, { prototype: { own: 1 } }),
  "a function whose prototype is frozen": Object.freeze(
    Object.defineProperty(function load() {}, "prototype", { value: {} })
  ),
  "a function of a class": Object.setPrototypeOf(() => 1, class Callable extends Function {}.prototype),
  "an async function of a class": Object.setPrototypeOf(async () => 1, class Callable extends Function {}.prototype),
  "an async function of no class": Object.setPrototypeOf(async () => 1, { constructor: Object }),
  "a function without a name": Object.defineProperty(() => 1, "name", { value: "" }),
  "a Proxy": new Proxy(async (_: never) => 1, {}),
  "a Proxy of a class": new Proxy(class Service {}, {}) as unknown as AnyFunction
}

describe("A measured function", () => {
  const looks: Readonly<Record<string, (fn: AnyFunction) => unknown>> = {
    "its text by Object.prototype": (fn) => Object.prototype.toString.call(fn),
    "the name of its constructor": (fn) => fn.constructor.name,
    "its constructor": (fn) => fn.constructor,
    "its prototype": (fn) => Object.getPrototypeOf(fn),
    "its keys": (fn) => Reflect.ownKeys(fn),
    "its properties": (fn) => Object.getOwnPropertyDescriptors(fn),
    "whether it can be changed": (fn) => [Object.isExtensible(fn), Object.isSealed(fn), Object.isFrozen(fn)],
    "whether it is a constructor": (fn) => {
      try {
        return Reflect.construct(Object, [], fn) instanceof Object
      } catch {
        return false
      }
    }
  }

  for (const [kind, fn] of Object.entries(kinds)) {
    for (const [what, look] of Object.entries(looks)) {
      it(`keeps ${what}: ${kind}`, () => {
        assert.deepStrictEqual(look(wrapped(fn)), look(fn))
        assert.deepStrictEqual(look(wrapped(wrapped(fn))), look(fn))
      })
    }
  }

  for (const kind of Object.keys(kinds).filter((kind) => !/propert|bound|Proxy/.test(kind))) {
    it(`keeps whether Node.js takes it for async or for a generator function: ${kind}`, () => {
      const fn = kinds[kind] as AnyFunction
      const measured = wrapped(fn)
      assert.strictEqual(types.isAsyncFunction(measured), types.isAsyncFunction(fn))
      assert.strictEqual(types.isGeneratorFunction(measured), types.isGeneratorFunction(fn))
    })
  }

  it("has one state with the function that it measures", () => {
    const memoize = Object.assign((key: string) => memoize.cache.get(key), { cache: new Map([["a", 1]]) })
    const measured = wrapped(memoize)
    measured.cache = new Map([["a", 2]])
    assert.strictEqual(measured("a"), 2)
    const counting = Object.assign(() => ++counting.calls, { calls: 0 })
    const measuredCounting = wrapped(counting)
    measuredCounting()
    assert.strictEqual(measuredCounting.calls, 1)
    const promised: AnyFunction & { later?: number } = promisify(() => {})
    const measuredPromised = wrapped(promised)
    promised.later = 1
    assert.strictEqual(measuredPromised.later, 1)
    const loading = Object.assign(async () => ++loading.calls, { calls: 0 })
    const measuredLoading = wrapped(loading)
    void measuredLoading()
    assert.strictEqual(measuredLoading.calls, 1)
  })

  it("is an async function to a library that asks whether it calls back", async () => {
    // As async.js, co and others detect it.
    const run = (fn: (n: number, done?: (error: unknown, n: number) => void) => unknown) =>
      new Promise((resolve) => {
        if (Object.prototype.toString.call(fn) === "[object AsyncFunction]") resolve(fn(1))
        else fn(1, (_, n) => resolve(n))
      })
    assert.strictEqual(await run(wrapped(async (n: number) => n * 2)), 2)
  })
})

describe("A measured constructor", () => {
  interface Point {
    readonly x: number
    readonly target: unknown
  }
  const Point = function (this: { x: number; target: unknown }, x: number) {
    if (new.target === undefined) return Reflect.construct(Point, [x])
    this.x = x
    this.target = new.target
    return undefined
  } as unknown as { new (x: number): Point; (x: number): Point; prototype: object }

  it("makes instances of both, with the same new.target, each measured once", () => {
    const observer = new FakeObserver()
    const Measured = timed(observer)(Point)
    const made = new Measured(1)
    assert.strictEqual(made.x, 1)
    assert.strictEqual(made.target, Point)
    assert.instanceOf(made, Point)
    assert.instanceOf(made, Measured)
    assert.strictEqual(Measured(2).x, 2)
    assert.strictEqual(observer.observed.length, 2)
  })

  it("can be extended, and called for another constructor", () => {
    const Measured = wrapped(Point)
    class Named extends Measured {
      readonly name = "a"
    }
    const named = new Named(3)
    assert.deepInclude(named, { name: "a", x: 3, target: Named })
    assert.instanceOf(named, Point)
    class Other {}
    assert.strictEqual(Reflect.construct(Measured, [4], Other).target, Other)
    assert.strictEqual(Object.getPrototypeOf(Reflect.construct(Measured, [4], Other)), Other.prototype)
  })

  for (const [kind, make] of Object.entries({
    "a function": () =>
      function (this: { x: number }) {
        this.x = 1
      },
    "an arrow function": () => () => {},
    "a generator function": () => function* () {}
  })) {
    it(`is one only if the function was, also with a property that cannot be changed: ${kind}`, () => {
      const original = Object.defineProperty(make(), promisify.custom, { value: async () => {} })
      const construct = (fn: unknown) => {
        try {
          const made = Reflect.construct(fn as AnyFunction, [])
          return { made: { ...made }, isInstance: made instanceof original }
        } catch (error) {
          return (error as Error).name
        }
      }
      assert.deepStrictEqual(construct(wrapped(original as AnyFunction)), construct(original))
    })
  }

  it("counts one that throws", () => {
    const { duration, exceptions, inProgress } = fakes()
    const Measured = instrumented({ duration, exceptions, inProgress })(function (this: object) {
      throw new RangeError(`no ${typeof this}`)
    })
    assert.throws(() => Reflect.construct(Measured, []), RangeError)
    assert.strictEqual(exceptions.counted, 1)
    assert.deepStrictEqual(inProgress.history, [1, 0])
  })
})

describe("util.promisify of a measured function", () => {
  const answer = (n: number) => Promise.resolve(n * 2)
  const callback = (_n: number, _done: () => void) => {}
  const rows: Readonly<Record<string, () => AnyFunction>> = {
    "a property": () => Object.assign(callback.bind(null), { [promisify.custom]: answer }),
    "an accessor": () =>
      Object.defineProperty(callback.bind(null), promisify.custom, { get: () => answer, configurable: true }),
    "an accessor that cannot be changed": () =>
      Object.defineProperty(callback.bind(null), promisify.custom, { get: () => answer }),
    "a property that cannot be changed": () =>
      Object.defineProperty(callback.bind(null), promisify.custom, { value: answer }),
    "a property of a frozen function": () =>
      Object.freeze(Object.assign(callback.bind(null), { [promisify.custom]: answer })),
    "a property of a frozen async function": () =>
      Object.freeze(Object.assign(async () => {}, { [promisify.custom]: answer })),
    "itself, as util.promisify gives it": () =>
      promisify((n: number, done: (error: null, n: number) => void) => done(null, n * 2)) as unknown as AnyFunction
  }
  for (const [title, make] of Object.entries(rows)) {
    it(`gives what the function has for it, measured once: ${title}`, async () => {
      const observer = new FakeObserver()
      const original = make()
      const promised = promisify(timed(observer)(original) as never) as unknown as typeof answer
      assert.strictEqual(await promised(2), 4)
      assert.strictEqual(observer.observed.length, 1)
      const plain = (promisify(original as never) as unknown as typeof answer)(2)
      assert.strictEqual(await plain, 4)
      assert.strictEqual(observer.observed.length, 1)
    })
  }

  it("is the same each time, also after the function was frozen", async () => {
    const measured = wrapped(Object.assign(callback.bind(null), { [promisify.custom]: answer }))
    assert.strictEqual(promisify(measured), promisify(measured))
    const itself = wrapped(promisify(callback))
    assert.strictEqual(promisify(itself), itself)
    const frozen = wrapped(Object.freeze(promisify(callback)))
    assert.strictEqual(Reflect.get(frozen, promisify.custom), frozen)
    Object.freeze(measured)
    assert.strictEqual(await (promisify(measured) as unknown as typeof answer)(1), 2)
  })
})

describe("Metadata of a measured method", () => {
  type Target = { readonly [key: string]: unknown }
  type Decorator = (target: object, key: string, descriptor: PropertyDescriptor) => PropertyDescriptor | undefined

  // As those of Nest are: they write to the function itself.
  const Meta =
    (key: string, value: unknown): Decorator =>
    (_target, _key, descriptor) => {
      Reflect.defineMetadata(key, value, descriptor.value)
      return descriptor
    }
  const Extend =
    (key: string, value: unknown): Decorator =>
    (_target, _key, descriptor) => {
      Reflect.defineMetadata(key, [...(Reflect.getMetadata(key, descriptor.value) ?? []), value], descriptor.value)
      return undefined
    }
  // A decorator that wraps, and reads the metadata of its own wrapper at the call.
  const Guarded: Decorator = (_target, _key, descriptor) => {
    const guarded = function (this: unknown, ...args: ReadonlyArray<unknown>) {
      if (Reflect.getMetadata("role", guarded) !== "admin") throw new RangeError("open")
      return Reflect.apply(descriptor.value, this, args)
    }
    return { ...descriptor, value: guarded }
  }

  const measuring: Decorator = (target, key, descriptor) => timed(new FakeObserver())(target, key, descriptor)

  const decorate = (decorators: ReadonlyArray<Decorator>): Target => {
    const { outputText } = ts.transpileModule(
      `export class Shop { ${decorators.map((_, at) => `@(d[${at}])`).join(" ")} async order() { return "ok" } }`,
      {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.CommonJS,
          experimentalDecorators: true
        }
      }
    )
    const exported: { Shop?: { readonly prototype: Target } } = {}
    new Function("exports", "d", outputText)(exported, decorators)
    assert.isDefined(exported.Shop)
    return exported.Shop.prototype
  }

  const others = [Meta("path", "x"), Extend("guards", "G"), Meta("role", "admin"), Extend("guards", "H")]
  const expected = { path: "x", role: "admin", guards: ["H", "G"] }

  for (let at = 0; at <= others.length; at += 1) {
    for (const times of [1, 2]) {
      it(`is the same with ${at} of four decorators above it, measured ${times} times`, async () => {
        const measurings = Array.from({ length: times }, () => measuring)
        const { order } = decorate([...others.slice(0, at), ...measurings, ...others.slice(at)])
        const seen = Object.fromEntries(
          Object.keys(expected).map((key) => [key, Reflect.getMetadata(key, order as object)])
        )
        assert.deepStrictEqual(seen, expected)
        assert.strictEqual(await (order as () => unknown)(), "ok")
      })
    }
  }

  it("is also seen by a decorator below it that reads it at the call", async () => {
    const { order } = decorate([Meta("role", "admin"), measuring, Guarded])
    assert.strictEqual(await (order as () => unknown)(), "ok")
  })
})

describe("A decorator of methods", () => {
  const decorate = timed(new FakeObserver()) as unknown as (...args: ReadonlyArray<unknown>) => unknown
  class Shop {
    order() {}
  }
  const rows: Readonly<Record<string, { readonly args: ReadonlyArray<unknown>; readonly names: string }>> = {
    "a class, by itself": { args: [Shop], names: "class Shop" },
    "a class without a name": { args: [class {}], names: "class" },
    "a class, by a standard decorator": { args: [Shop, { kind: "class", name: "Shop" }], names: "class Shop" },
    "a parameter of a method": { args: [Shop.prototype, "order", 0], names: "parameter 0 of order" },
    "a parameter of a static method": { args: [Shop, "order", 1], names: "parameter 1 of order" },
    "a parameter of a method named by a symbol": {
      args: [Shop.prototype, Symbol("order"), 1],
      names: "parameter 1 of Symbol(order)"
    },
    "a parameter of a constructor": { args: [Shop, undefined, 0], names: "parameter 0 of a constructor" },
    "an accessor": {
      args: [Shop.prototype, "size", { get: () => 1, set: undefined, configurable: true, enumerable: false }],
      names: "size"
    },
    "a field": { args: [Shop.prototype, "size"], names: "size" },
    "a field, as esbuild calls it": { args: [Shop.prototype, "size", undefined], names: "size" },
    "a field, as Babel calls it": {
      args: [Shop.prototype, "size", { configurable: true, enumerable: true, writable: true, initializer: () => 1 }],
      names: "size"
    },
    "an accessor of a class, by a standard decorator": {
      args: [
        { get() {}, set() {} },
        { kind: "accessor", name: "size" }
      ],
      names: "accessor size"
    },
    "a decorator of the proposal of 2018": {
      args: [{ kind: "method", key: "order", placement: "prototype", descriptor: {} }],
      names: "object"
    }
  }
  for (const [title, { args, names }] of Object.entries(rows)) {
    it(`refuses ${title} at once, and names what it takes`, () => {
      assert.throws(
        () => decorate(...args),
        TypeError,
        `only functions and methods can be measured or decorated, not ${names}`
      )
    })
  }
})
