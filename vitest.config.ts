import { availableParallelism } from "node:os"
import { configDefaults, defineConfig } from "vitest/config"
import { hasNewerClient, overOneClient } from "./test/support/oneClient.js"
import { onEachVersion } from "./test/support/platform.js"
import { isFullSoak } from "./test/support/soak.js"

// What waits in vain says for what before that: see test/support/times.ts.
const common = { testTimeout: 120_000, hookTimeout: 120_000 }

// `TESTS=platform`: only what another version of Node.js can change.
const isPlatformOnly = process.env["TESTS"] === "platform"

const all = isPlatformOnly ? [...onEachVersion] : ["test/**/*.test.ts"]

// What compares times, or takes all of the machine: one file after the other, once all others are done.
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

// The same over the client that is to follow prom-client.
const newer = {
  test: {
    ...common,
    name: "newer",
    include: all,
    exclude: [...tests.test.exclude, ...Object.values(overOneClient).flat()],
    env: { CLIENT_OF_TESTS: "@prometheus-io/client" },
    setupFiles: ["./test/support/otherClient.mjs"]
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
    // One worker for each core: by default vitest leaves one core to itself, which is half of a machine with two.
    maxWorkers: availableParallelism(),
    reporters: ["default", "./test/support/summary.ts"],
    projects: isPlatformOnly
      ? [tests, ...(isFullSoak ? [alone] : [])]
      : [tests, ...(hasNewerClient ? [newer] : []), alone]
  }
})
