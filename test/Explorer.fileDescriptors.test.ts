import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { runFixture } from "./support/childProcess.js"

describe("a process that is out of file descriptors when the explorer is asked for the first time", () => {
  for (const way of ["startHttpServer", "startHttpServerInThread"]) {
    it.live(`serves a page nevertheless, and the explorer as soon as it has some again, with ${way}`, () =>
      Effect.gen(function* () {
        const { code, stderr, stdout } = yield* runFixture("outOfFileDescriptors.mjs", { args: [way] })
        assert.strictEqual(code, 0, stderr)
        const [first, ...others] = stdout
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line))
        assert.deepStrictEqual(first, { code: "EMFILE" })
        for (const { without } of others.slice(0, 3)) {
          // The worker has it at hand, in this thread it is a file.
          assert.deepStrictEqual(without, { status: 200, isExplorer: way !== "startHttpServer", isLinked: true })
        }
        assert.deepStrictEqual(others[3], { with: { status: 200, isExplorer: true, isLinked: true } })
      })
    )
  }
})
