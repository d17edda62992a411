/**
 * Effect 4 under the names of Effect 3, for the tests that run over both: only what they use. Types are not checked here,
 * because the tests are checked against Effect 3.
 */
// biome-ignore-all lint/suspicious/noExplicitAny: see above
import * as E from "effect"
import * as TestClock4 from "effect/testing/TestClock"

export * from "effect"

const {
  Cause: C,
  Clock: K,
  Config: G,
  ConfigProvider: P,
  Context: T,
  Effect: F,
  Exit: X,
  Fiber: B,
  Layer: L,
  Logger: W,
  Option: O,
  Random: N,
  References: R,
  Scope: S,
  Stream: M,
  Tracer: Y
} = E

/** Both forms of a function with two parameters. */
const both =
  (apply: (self: any, that: any) => any) =>
  (...args: ReadonlyArray<any>): any =>
    args.length === 1 ? (self: any) => apply(self, args[0]) : apply(args[0], args[1])

const provided = (service: any) => both((self, value) => F.provideService(self, service, value))

export const Effect = {
  ...F,
  async: F.callback,
  catchAll: F.catch,
  catchAllCause: F.catchCause,
  catchAllDefect: F.catchDefect,
  checkInterruptible: (f: (is: boolean) => any) => F.withFiber((fiber: any) => f(fiber.interruptible)),
  configProviderWith: (f: (provider: any) => any) => F.flatMap(P.ConfigProvider as any, f),
  dieMessage: (message: string) => F.die(new Error(message)),
  either: F.result,
  fork: F.forkChild,
  forkDaemon: F.forkDetach,
  makeSemaphore: E.Semaphore.make,
  orElseSucceed: both((self, value) => F.orElseSucceed(self, value)),
  promise: F.promise,
  repeatN: both((self, times) => F.repeat(self, { times })),
  runtime: F.context,
  timeoutFail: both((self, { duration, onTimeout }) =>
    F.timeoutOrElse(self, { duration, orElse: () => F.fail(onTimeout()) })
  ),
  withClock: provided(K.Clock),
  withConfigProvider: provided(P.ConfigProvider),
  withFiberRuntime: F.withFiber,
  withRandom: provided(N.Random),
  withScheduler: provided(E.Scheduler.Scheduler),
  withTracer: provided(Y.Tracer),
  yieldNow: () => F.yieldNow,
  zipLeft: both((self, that) => F.tap(self, that)),
  zipRight: F.andThen
}

const errors = (cause: any) => cause.reasons.filter(C.isFailReason).map(({ error }: any) => error)

export const Cause = {
  ...C,
  defects: (cause: any) => cause.reasons.filter(C.isDieReason).map(({ defect }: any) => defect),
  failureOption: C.findErrorOption,
  failures: errors,
  isDie: C.hasDies,
  isEmpty: (cause: any) => cause.reasons.length === 0,
  isFailure: C.hasFails,
  isInterrupted: C.hasInterrupts,
  isInterruptedOnly: C.hasInterruptsOnly,
  parallel: C.combine,
  sequential: C.combine
}

export const Chunk = {
  ...E.Chunk,
  toReadonlyArray: (chunk: any) => (Array.isArray(chunk) ? chunk : E.Chunk.toReadonlyArray(chunk))
}

export const Config = {
  ...G,
  array: both((config, name) => G.Array(config, name)),
  boolean: G.Boolean,
  duration: G.Duration,
  integer: G.Int,
  literal:
    (...literals: ReadonlyArray<any>) =>
    (name: string) =>
      G.Literals(literals, name),
  number: G.Number,
  port: G.Port,
  redacted: G.Redacted,
  string: G.String
}

export const ConfigError = { isConfigError: (error: unknown) => error instanceof G.ConfigError }

export const ConfigProvider = {
  ...P,
  fromMap: (map: ReadonlyMap<string, string>) => P.fromEnv({ env: Object.fromEntries(map) } as any)
}

export const Context = {
  ...T,
  GenericTag: T.Service,
  Tag: (id: string) => () => (T.Service as any)()(id),
  unsafeGet: T.getUnsafe
}

export const Exit = { ...X, isInterrupted: X.hasInterrupts }

export const Fiber = {
  ...B,
  getCurrentFiber: () => O.fromNullishOr(B.getCurrent()),
  interrupt: (fiber: any) => F.andThen(B.interrupt(fiber), B.await(fiber)),
  interruptFork: (fiber: any) => F.sync(() => fiber.interruptUnsafe()),
  poll: (fiber: any) => F.sync(() => O.fromNullishOr(fiber.pollUnsafe()))
}

export const FiberId = { none: undefined }

export const HashSet = { ...E.HashSet, toValues: (set: Iterable<unknown>) => [...set] }

export const Layer = {
  ...L,
  scoped: L.effect,
  scopedDiscard: L.effectDiscard,
  setConfigProvider: (provider: any) => P.layer(provider),
  setTracer: (tracer: any) => L.succeed(Y.Tracer, tracer),
  unwrapEffect: L.unwrap
}

export const LogLevel = {
  ...E.LogLevel,
  All: "All",
  Debug: "Debug",
  Error: "Error",
  Fatal: "Fatal",
  Info: "Info",
  None: "None",
  Warning: "Warn"
}

export const Logger = {
  ...W,
  jsonLogger: W.formatJson,
  logfmtLogger: W.formatLogFmt,
  minimumLogLevel: (level: any) => L.succeed(R.MinimumLogLevel, level),
  remove: () => W.layer([]),
  replace: (_: any, logger: any) => W.layer([logger]),
  stringLogger: W.formatSimple,
  structuredLogger: W.formatStructured,
  withMinimumLogLevel: provided(R.MinimumLogLevel)
}

export const Runtime = { ...E.Runtime, runFork: F.runForkWith, runPromise: F.runPromiseWith, runSync: F.runSyncWith }

export const Scope = { ...S, extend: S.provide }

export const Stream = {
  ...M,
  catchAll: M.catch,
  fromChunks: (...chunks: ReadonlyArray<any>) => M.fromArrays(...chunks),
  runForEachChunk: M.runForEachArray
}

export const TestClock = TestClock4
