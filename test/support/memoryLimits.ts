/** The memory limits that the metrics of a process have in a process of their own, on any runtime. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type ChildOptions, runFixture } from "./childProcess.js"

export const mebibyte = 2 ** 20

/** What `fixtures/memoryLimits.mjs` is asked for. */
interface Asked {
  /** Options of a worker thread to run in. */
  readonly worker?: object
  /** Variables that are set after the start. */
  readonly changedEnv?: Readonly<Record<string, string>>
  readonly implied?: boolean
  readonly exhausts?: boolean
}

/** In bytes, except `implied`. */
export interface Limits {
  readonly oldGeneration?: number
  readonly memory?: number
  readonly heap: number
  /** The old generation that V8 calculates for a thread without limits of its own, in MiB. */
  readonly implied?: number
}

type Printed = Partial<Limits> & { readonly used?: number; readonly code?: string }

/** Each line is complete, also if the process ends in the middle of one. */
const printed = (asked: Asked, options: ChildOptions) =>
  Effect.map(
    runFixture("memoryLimits.mjs", { ...options, args: [JSON.stringify(asked)] }),
    ({ code, signal, stderr, stdout }) => {
      const lines = stdout.split("\n").slice(0, -1)
      return { code, signal, stderr, lines: lines.map((line) => JSON.parse(line) as Printed) }
    }
  )

export const limitsOf = (asked: Asked, options: ChildOptions): Effect.Effect<Limits> =>
  Effect.map(printed(asked, options), ({ lines: [limits], stderr }) => {
    assert.isDefined(limits?.heap, stderr)
    return limits as Limits
  })

interface Row {
  readonly title: string
  readonly execArgv?: ReadonlyArray<string>
  /** NODE_OPTIONS. */
  readonly env?: string
  readonly asked?: Asked
  /** In MiB. Default: what V8 calculates. */
  readonly expected?: number
}

const inWorker = (resourceLimits?: object, more: object = {}): Asked => ({ worker: { resourceLimits, ...more } })

const rows: ReadonlyArray<Row> = [
  { title: "no setting" },
  { title: "--max-old-space-size=128", execArgv: ["--max-old-space-size=128"], expected: 128 },
  { title: "--max_old_space_size=300", execArgv: ["--max_old_space_size=300"], expected: 300 },
  { title: "--max-old_space-size=301", execArgv: ["--max-old_space-size=301"], expected: 301 },
  {
    title: "two of these flags, of which the last applies",
    execArgv: ["--max-old-space-size=300", "--max_old_space_size=200"],
    expected: 200
  },
  { title: "the flag in NODE_OPTIONS", env: "--max-old-space-size=200", expected: 200 },
  { title: "the flag in NODE_OPTIONS with others", env: "--no-warnings --max_old_space_size=210", expected: 210 },
  { title: "the flag in NODE_OPTIONS in quotes", env: '"--max-old-space-size=210"', expected: 210 },
  { title: "the flag in NODE_OPTIONS with a value in quotes", env: '--max-old-space-size="220"', expected: 220 },
  {
    title: "the flag in both, of which the command line applies",
    execArgv: ["--max-old-space-size=300"],
    env: "--max-old-space-size=200",
    expected: 300
  },
  {
    title: "the flag and one for the young generation",
    execArgv: ["--max-semi-space-size=5", "--max-old-space-size=128"],
    expected: 128
  },
  { title: "a flag for the young generation alone", execArgv: ["--max-semi-space-size=64"] },
  {
    title: "the flag and one for the whole heap",
    execArgv: ["--max-heap-size=500", "--max-old-space-size=300"],
    expected: 300
  },
  { title: "a flag that does not name the size", env: "--title=max-old-space-size=64" },
  {
    title: "a NODE_OPTIONS that was changed after the start",
    asked: { changedEnv: { NODE_OPTIONS: "--max-old-space-size=1111" } }
  },
  { title: "a worker thread without limits", asked: inWorker() },
  {
    title: "a worker thread with resource limits",
    asked: inWorker({ maxOldGenerationSizeMb: 64 }),
    expected: 64
  },
  {
    title: "a worker thread with resource limits of both generations",
    asked: inWorker({ maxOldGenerationSizeMb: 264, maxYoungGenerationSizeMb: 20 }),
    expected: 264
  },
  {
    title: "a worker thread with resource limits beside the flag, which applies",
    execArgv: ["--max-old-space-size=128"],
    asked: inWorker({ maxOldGenerationSizeMb: 64 }),
    expected: 128
  },
  {
    title: "a worker thread that sees no NODE_OPTIONS",
    env: "--no-warnings",
    asked: inWorker({ maxOldGenerationSizeMb: 64 }, { env: {} }),
    expected: 64
  }
]

interface End {
  readonly title: string
  readonly execArgv: ReadonlyArray<string>
  readonly worker?: object
  /** In MiB. */
  readonly expected: number
}

const ends: ReadonlyArray<End> = [
  { title: "a process", execArgv: ["--max-old-space-size=128"], expected: 128 },
  {
    title: "a worker thread",
    execArgv: [],
    worker: { resourceLimits: { maxOldGenerationSizeMb: 320 } },
    expected: 320
  },
  {
    title: "a worker thread in a process with the flag",
    execArgv: ["--max-old-space-size=320"],
    worker: { resourceLimits: { maxOldGenerationSizeMb: 100 } },
    expected: 320
  }
]

/** What the limit of the old generation is on a Node.js. */
export const describeOldGeneration = (name: string, runtime: ChildOptions["runtime"]): void => {
  describe(`nodejs_heap_old_generation_limit_bytes on ${name}`, () => {
    const child = { ...(runtime && { runtime }), env: { NODE_OPTIONS: "" } }

    for (const { asked = {}, env = "", execArgv = [], expected, title } of rows) {
      it.live(`is exact with ${title}`, () =>
        Effect.gen(function* () {
          const options = { ...child, execArgv, env: { NODE_OPTIONS: env } }
          const { implied, oldGeneration } = yield* limitsOf({ ...asked, implied: expected === undefined }, options)
          assert.strictEqual((oldGeneration ?? 0) / mebibyte, expected ?? implied)
        })
      )
    }

    it.live("is at most the limit of the heap, and a tenth too high, with a limit of the heap alone", () =>
      Effect.gen(function* () {
        const { heap, oldGeneration = 0 } = yield* limitsOf({}, { ...child, execArgv: ["--max-heap-size=500"] })
        assert.strictEqual(heap, 500 * mebibyte)
        assert.isBelow(oldGeneration, heap)
        assert.isAbove(oldGeneration, heap * 0.8)
      })
    )

    for (const { execArgv, expected, title, worker } of ends) {
      it.live(`is where ${title} ends`, () =>
        Effect.gen(function* () {
          const asked = { exhausts: true, ...(worker && { worker }) }
          const { code, lines, signal, stderr } = yield* printed(asked, { ...child, execArgv })
          const limit = lines[0]?.oldGeneration ?? 0
          assert.strictEqual(limit, expected * mebibyte)
          const most = Math.max(...lines.map(({ used = 0 }) => used))
          assert.isAtLeast(most, 0.7 * limit)
          assert.isAtMost(most, 1.05 * limit)
          if (worker === undefined) {
            assert.isTrue(signal === "SIGABRT" || code === 134, stderr)
            assert.include(stderr, "heap out of memory")
          } else assert.strictEqual(lines.at(-1)?.code, "ERR_WORKER_OUT_OF_MEMORY")
          console.log(`old generation of ${title} on ${name}: ${((100 * most) / limit).toFixed(0)} % used at its end`)
        })
      )
    }
  })
}
