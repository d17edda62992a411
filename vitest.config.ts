import { availableParallelism } from "node:os"
import { configDefaults, defineConfig } from "vitest/config"
import { hasNewerClient, overOneClient } from "./test/support/clientMatrix.js"
import { onEachVersion } from "./test/support/platformTests.js"
import { isFullSoak } from "./test/support/soak.js"

// Longer than the limits in test/support/timing.ts, whose errors say what a test waited for.
const common = { testTimeout: 120_000, hookTimeout: 120_000 }

// `TESTS=platform`: only tests that depend on the version of Node.js.
const isPlatformOnly = process.env["TESTS"] === "platform"

const all = isPlatformOnly ? [...onEachVersion] : ["test/**/*.test.ts"]

// Tests that compare times or need the whole machine: one file at a time, after all others.
const load = ["test/**/*.load.test.ts"]

const tests = {
  test: {
    ...common,
    name: "tests",
    include: all,
    exclude: [...configDefaults.exclude, ...load],
    env: { CLIENT_OF_TESTS: "prom-client" }
  }
}

// The same tests with the successor of prom-client.
const newer = {
  test: {
    ...common,
    name: "newer",
    include: all,
    exclude: [...tests.test.exclude, ...Object.values(overOneClient).flat()],
    env: { CLIENT_OF_TESTS: "@prometheus-io/client" },
    setupFiles: ["./test/support/swapClients.mjs"]
  }
}

const alone = {
  test: {
    ...common,
    name: "load",
    include: load,
    sequence: { groupOrder: 1 },
    poolOptions: { forks: { singleFork: true } }
  }
}

export default defineConfig({
  test: {
    // One worker per core: by default vitest keeps one core for itself, which is half of a machine with two cores.
    maxWorkers: availableParallelism(),
    reporters: ["default", "./test/support/summaryReporter.ts"],
    projects: isPlatformOnly
      ? [tests, ...(isFullSoak ? [alone] : [])]
      : [tests, ...(hasNewerClient ? [newer] : []), alone]
  }
})
