/** What the finalizers of a measured stream find of their fiber: the same as those of the stream itself. */
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Chunk,
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  FiberRef,
  Layer,
  Logger,
  LogLevel,
  Option,
  RuntimeFlags,
  RuntimeFlagsPatch,
  type Scope,
  Stream
} from "effect"
import * as fc from "fast-check"
import * as StreamMetrics from "../src/StreamMetrics.js"
import { type Measure, measures, type Plain, unmeasured } from "./support/measuredStreams.js"
import { FakeObserver } from "./support/metrics.js"

class Service extends Context.Tag("Service")<Service, string>() {}
class Reference extends Context.Reference<Reference>()("Reference", { defaultValue: () => "default" }) {}

interface Seen {
  readonly ref: FiberRef.FiberRef<string>
  /** Notes what a fiber is like, there. */
  readonly look: (where: string) => Effect.Effect<void>
}

const noting =
  (ref: FiberRef.FiberRef<string>, log: Array<unknown>): Seen["look"] =>
  (where) =>
    Effect.gen(function* () {
      const flags = yield* Effect.getRuntimeFlags
      log.push({
        where,
        ref: yield* FiberRef.get(ref),
        service: Option.getOrElse(yield* Effect.serviceOption(Service), () => "none"),
        reference: yield* Reference,
        annotations: JSON.stringify(yield* Effect.logAnnotations),
        level: (yield* FiberRef.get(FiberRef.currentMinimumLogLevel))._tag,
        batching: yield* FiberRef.get(FiberRef.currentRequestBatchingEnabled),
        interruptible: RuntimeFlags.isEnabled(flags, RuntimeFlags.Interruption),
        windDown: RuntimeFlags.isEnabled(flags, RuntimeFlags.WindDown),
        yielding: RuntimeFlags.isEnabled(flags, RuntimeFlags.CooperativeYielding)
      })
    })

const run = (effect: Effect.Effect<unknown, RangeError, Scope.Scope>): Plain =>
  Stream.drain(Stream.unwrapScoped(Effect.as(effect, Stream.void)))

const withoutYielding = Effect.patchRuntimeFlags(RuntimeFlagsPatch.disable(RuntimeFlags.CooperativeYielding))

/** Streams that change something of their fiber, and have finalizers that look at it. */
const streams: Readonly<Record<string, (seen: Seen) => Plain>> = {
  "sets a fiber ref before an element": ({ look, ref }) =>
    Stream.ensuring(Stream.fromEffect(Effect.as(FiberRef.set(ref, "inside"), 1)), look("ensuring")),
  "sets a fiber ref at its end": ({ look, ref }) =>
    Stream.make(1).pipe(
      Stream.concat(Stream.drain(Stream.fromEffect(FiberRef.set(ref, "late")))),
      Stream.ensuring(look("ensuring"))
    ),
  "sets a fiber ref with each element": ({ look, ref }) =>
    Stream.range(1, 4, 1).pipe(
      Stream.tap((n) => FiberRef.set(ref, `element ${n}`)),
      Stream.ensuring(look("ensuring"))
    ),
  "sets a fiber ref where it acquires": ({ look, ref }) =>
    Stream.acquireRelease(Effect.as(FiberRef.set(ref, "acquired"), 1), () => look("released")),
  "sets a fiber ref in one finalizer, for the next": ({ look, ref }) =>
    Stream.make(1).pipe(
      Stream.ensuring(Effect.zipRight(look("inner"), FiberRef.set(ref, "by the inner"))),
      Stream.ensuring(
        Effect.zipRight(
          look("middle"),
          FiberRef.update(ref, (value) => `${value}, middle`)
        )
      ),
      Stream.ensuring(look("outer"))
    ),
  "has a fiber ref locally in a scope": ({ look, ref }) =>
    Stream.unwrapScoped(
      Effect.gen(function* () {
        yield* Effect.addFinalizer(() => look("scope before"))
        yield* Effect.locallyScoped(ref, "in the scope")
        yield* Effect.addFinalizer(() => look("scope"))
        return Stream.ensuring(Stream.make(1, 2), look("ensuring"))
      })
    ),
  "logs with annotations of a scope": ({ look }) =>
    Stream.unwrapScoped(
      Effect.gen(function* () {
        yield* Effect.annotateLogsScoped({ of: "the scope" })
        yield* Effect.addFinalizer(() => look("scope"))
        return Stream.ensuring(Stream.make(1), look("ensuring"))
      })
    ),
  "provides a service to a part of it": ({ look }) =>
    Stream.make(1).pipe(
      Stream.ensuring(look("with")),
      Stream.provideService(Service, "provided"),
      Stream.provideService(Reference, "provided"),
      Stream.ensuring(look("without"))
    ),
  "is provided a layer that sets a minimum level": ({ look }) =>
    Stream.make(1).pipe(
      Stream.ensuring(look("with")),
      Stream.provideSomeLayer(Layer.merge(Logger.minimumLogLevel(LogLevel.Fatal), Layer.succeed(Service, "layer"))),
      Stream.ensuring(look("without"))
    ),
  "patches runtime flags": ({ look }) =>
    Stream.make(1).pipe(Stream.concat(run(withoutYielding)), Stream.ensuring(look("ensuring"))),
  "sets fiber refs in streams that it flattens": ({ look, ref }) =>
    Stream.make(1, 2, 3).pipe(
      Stream.flatMap((n) =>
        Stream.ensuring(Stream.fromEffect(Effect.as(FiberRef.set(ref, `inner ${n}`), n)), look(`inner ${n}`))
      ),
      Stream.ensuring(look("outer"))
    ),
  "fails after it has set a fiber ref": ({ look, ref }) =>
    Stream.fromEffect(Effect.zipRight(FiberRef.set(ref, "failing"), Effect.fail(new RangeError("no")))).pipe(
      Stream.ensuring(look("ensuring"))
    ),
  "dies after it has set a fiber ref": ({ look, ref }) =>
    Stream.fromEffect(Effect.zipRight(FiberRef.set(ref, "dying"), Effect.dieMessage("no"))).pipe(
      Stream.ensuring(look("ensuring"))
    ),
  "recovers from a failure with another fiber ref": ({ look, ref }) =>
    Stream.fail(new RangeError("no")).pipe(
      Stream.ensuring(look("failed")),
      Stream.catchAll(() => Stream.fromEffect(Effect.as(FiberRef.set(ref, "recovered"), 1))),
      Stream.ensuring(look("ensuring"))
    )
}

type Consume = (self: Plain, seen: Seen) => Effect.Effect<unknown, RangeError>

/** Those that run a stream, and set what its finalizers may see meanwhile. */
const consumers: Readonly<Record<string, Consume>> = {
  "is drained": (self) => Stream.runDrain(self),
  "is drained by one who sets a fiber ref with each element": (self, { ref }) =>
    Stream.runForEach(self, (n) => FiberRef.update(ref, (value) => `${value}, consumed ${n}`)),
  "is left after an element": (self, { ref }) =>
    Stream.runDrain(
      Stream.take(
        Stream.tap(self, () => FiberRef.update(ref, (value) => `${value}, left`)),
        1
      )
    ),
  "has a fiber ref locally": (self, { ref }) => Effect.locally(Stream.runDrain(self), ref, "of the consumer"),
  "has a service": (self) => Effect.provideService(Stream.runDrain(self), Service, "of the consumer"),
  "runs in an uninterruptible region": (self) => Effect.uninterruptible(Stream.runDrain(self)),
  "is pulled in a scope": (self, { ref }) =>
    Effect.scoped(
      Effect.flatMap(Stream.toPull(self), (pull) =>
        Effect.zipRight(
          Effect.exit(pull),
          FiberRef.update(ref, (value) => `${value}, pulled`)
        )
      )
    ),
  "is concatenated with one that looks": (self, { look }) =>
    Stream.runDrain(Stream.concat(self, Stream.drain(Stream.fromEffect(look("next"))))),
  "is interrupted at its end": (self) =>
    Effect.gen(function* () {
      const reached = yield* Deferred.make<void>()
      const waits = Stream.fromEffect(Effect.zipRight(Deferred.succeed(reached, undefined), Effect.never))
      const fiber = yield* Effect.fork(Stream.runDrain(Stream.flatMap(self, () => waits)))
      // Where the stream fails, it does not get there.
      yield* Effect.race(Deferred.await(reached), Fiber.await(fiber))
      yield* Fiber.interrupt(fiber)
    })
}

const withoutFibers = (exit: Exit.Exit<unknown, unknown>): unknown =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) => [
      Chunk.toReadonlyArray(Cause.failures(cause)),
      Chunk.toReadonlyArray(Cause.defects(cause)).map(String),
      Cause.isInterrupted(cause)
    ]
  })

/** All that can be seen while the stream runs, and afterwards, in a fiber of its own. */
const seenWith = (measure: Measure, stream: (seen: Seen) => Plain, consume: Consume): Promise<ReadonlyArray<unknown>> =>
  Effect.runPromise(
    Effect.scoped(
      Effect.gen(function* () {
        const ref = yield* FiberRef.make("initial")
        yield* FiberRef.set(ref, "before")
        const log: Array<unknown> = []
        const seen: Seen = { ref, look: noting(ref, log) }
        const exit = yield* Effect.exit(consume(measure(stream(seen)), seen))
        yield* seen.look("after")
        return [...log, withoutFibers(exit)]
      })
    )
  )

describe("The finalizers of a measured stream", () => {
  for (const [what, stream] of Object.entries(streams)) {
    for (const [how, consume] of Object.entries(consumers)) {
      it(`find what they would find without the measurement: a stream that ${what} ${how}`, async () => {
        const expected = await seenWith(unmeasured, stream, consume)
        for (const [name, make] of Object.entries(measures)) {
          assert.deepStrictEqual(await seenWith(make(), stream, consume), expected, name)
        }
      })
    }
  }

  it("find a fiber ref as the stream has set it", async () => {
    const stream = streams["sets a fiber ref before an element"] ?? assert.fail()
    const measure = StreamMetrics.timed(new FakeObserver())
    const [finalizer] = await seenWith(measure, stream, (self) => Stream.runDrain(self))
    assert.deepInclude(finalizer, { where: "ensuring", ref: "inside" })
  })

  it("find what they would find in every stream that is put together of such parts", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(11), { minLength: 1, maxLength: 8 }),
        fc.constantFrom(...Object.keys(consumers)),
        fc.constantFrom(...Object.keys(measures)),
        async (parts, how, name) => {
          const consume = consumers[how] ?? assert.fail()
          const make = measures[name] ?? assert.fail()
          const stream = (seen: Seen): Plain =>
            parts.reduce<Plain>((self, part, at) => grown(self, part, `${at}`, seen), Stream.make(1, 2, 3))
          const expected = await seenWith(unmeasured, stream, consume)
          assert.deepStrictEqual(await seenWith(make(), stream, consume), expected)
        }
      ),
      { numRuns: 300 }
    ))
})

const grown = (self: Plain, part: number, at: string, { look, ref }: Seen): Plain => {
  const set = FiberRef.update(ref, (value) => `${value} ${at}`)
  const parts: ReadonlyArray<() => Plain> = [
    () => Stream.ensuring(self, look(at)),
    () => Stream.ensuring(self, Effect.zipRight(look(at), set)),
    () => Stream.tap(self, () => set),
    () => Stream.concat(Stream.drain(Stream.fromEffect(set)), self),
    () => Stream.concat(self, Stream.drain(Stream.fromEffect(set))),
    () =>
      Stream.flatMap(
        Stream.acquireRelease(set, () => look(at)),
        () => self
      ),
    () => Stream.unwrapScoped(Effect.as(Effect.locallyScoped(ref, `locally ${at}`), self)),
    () =>
      Stream.unwrapScoped(
        Effect.as(
          Effect.addFinalizer(() => look(at)),
          self
        )
      ),
    () => Stream.provideService(self, Service, at),
    () => Stream.flatMap(self, (n) => Stream.ensuring(Stream.make(n), look(`${at} ${n}`))),
    () => Stream.take(self, 2),
    () => Stream.concat(self, Stream.fail(new RangeError(at)))
  ]
  return (parts[part] ?? assert.fail())()
}
