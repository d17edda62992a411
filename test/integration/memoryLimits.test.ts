/** The memory limits of a process on other runtimes, and in a control group. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { type Binary, binary, describeUnless, describeWith } from "../support/binaries.js"
import type { ChildOptions } from "../support/childProcess.js"
import { memoryGroup, withoutMemoryGroups } from "../support/memoryGroup.js"
import { describeOldGeneration, limitsOf, mebibyte } from "../support/memoryLimits.js"

type Program = NonNullable<ChildOptions["runtime"]>

describeWith(["node24"], "on another version", ({ node24 }) => {
  describeOldGeneration("Node.js 24", [node24])

  for (const [title, execArgv, env] of [
    ["on the command line", ["--max-old-space-size-percentage=30"], ""],
    ["in NODE_OPTIONS", [], "--max-old-space-size-percentage=30"]
  ] as const) {
    it.live(`the limit of the old generation is a percentage of the memory, ${title}`, () =>
      Effect.gen(function* () {
        const { memory = 0, oldGeneration = 0 } = yield* limitsOf(
          {},
          { runtime: [node24, ...execArgv], env: { NODE_OPTIONS: env } }
        )
        assert.closeTo(oldGeneration, 0.3 * memory, mebibyte)
      })
    )
  }
})

describeWith(["deno"], "on Deno, which takes no NODE_OPTIONS,", ({ deno }) => {
  const run: Program = [deno, "run", "-A"]
  for (const [title, env] of [
    ["without settings", ""],
    ["and not NODE_OPTIONS", "--max-old-space-size=300"]
  ] as const) {
    it.live(`the limit of the old generation is what V8 calculates ${title}`, () =>
      Effect.gen(function* () {
        const { heap, oldGeneration = 0 } = yield* limitsOf({}, { runtime: run, env: { NODE_OPTIONS: env } })
        const semiSpace = (heap - oldGeneration) / mebibyte / 3
        assert.include([1, 2, 4, 8, 16, 32, 64], semiSpace)
        assert.isAbove(oldGeneration, 0.8 * heap)
      })
    )
  }

  it.live("it is left out with a flag of V8, which Deno does not show", () =>
    Effect.gen(function* () {
      const runtime: Program = [deno, "run", "-A", "--v8-flags=--max-old-space-size=300"]
      assert.isUndefined((yield* limitsOf({}, { runtime })).oldGeneration)
    })
  )
})

describeWith(["bun"], "on Bun, whose engine has no old generation,", ({ bun }) => {
  it.live("its limit is left out", () =>
    Effect.gen(function* () {
      for (const env of ["", "--max-old-space-size=300"]) {
        const { memory, oldGeneration } = yield* limitsOf({}, { runtime: [bun], env: { NODE_OPTIONS: env } })
        assert.isUndefined(oldGeneration)
        assert.isAbove(memory ?? 0, 0)
      }
    })
  )
})

describeUnless(withoutMemoryGroups(), "in a control group of 600 MiB", () => {
  const programs: ReadonlyArray<readonly [name: string, program: Program | undefined]> = [
    ["this Node.js", [process.execPath]],
    ...(["node24", "bun", "deno"] as const satisfies ReadonlyArray<Binary>).map(
      (name): readonly [name: string, program: Program | undefined] => {
        const file = binary(name)
        if (file === undefined) return [name, undefined]
        return [name, name === "deno" ? [file, "run", "-A"] : [file]]
      }
    )
  ]
  const inGroup = Effect.acquireRelease(
    Effect.sync(() => memoryGroup(600 * mebibyte)),
    ({ remove }) => Effect.sync(remove)
  )
  for (const [name, program] of programs) {
    describe.skipIf(program === undefined)(name, () => {
      it.scopedLive("has its memory limit, and the old generation's that V8 calculates from it", () =>
        Effect.gen(function* () {
          const { folder } = yield* inGroup
          const enters = ["sh", "-c", `echo $$ > ${folder}/cgroup.procs && exec "$@"`, "sh"] as const
          const isNode = name.toLowerCase().includes("node")
          const { implied, memory, oldGeneration } = yield* limitsOf(
            { implied: isNode },
            { runtime: [...enters, ...(program ?? [])], env: { NODE_OPTIONS: "" } }
          )
          assert.strictEqual(memory, 600 * mebibyte)
          if (isNode) assert.strictEqual((oldGeneration ?? 0) / mebibyte, implied)
        })
      )
    })
  }
})
