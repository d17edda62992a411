import type { Reporter, TestModule } from "vitest/node"
import { notOverBoth } from "./clientMatrix.js"

/** Closes a run with one plain line that says how many tests passed and failed, and how many were left out. */
export default class Summary implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<unknown>): void {
    let passed = 0
    let skipped = 0
    let failed = unhandled.length
    for (const module of modules) {
      // A file that could not be loaded has no tests to count.
      if (module.errors().length > 0) failed += 1
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state === "passed") passed += 1
        else if (state === "failed") failed += 1
        else skipped += 1
      }
    }
    process.on("exit", () => {
      const leftOut = skipped > 0 ? `, ${skipped} skipped` : ""
      if (notOverBoth !== undefined) process.stdout.write(`${notOverBoth}\n`)
      process.stdout.write(`${passed} passed, ${failed} failed${leftOut}\n`)
    })
  }
}
