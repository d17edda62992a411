import { configDefaults, defineConfig } from "vitest/config"
import { hasNewerClient, overOneClient } from "./test/support/oneClient.js"

// What waits in vain says for what before that: see test/support/times.ts.
const common = { testTimeout: 120_000, hookTimeout: 120_000 }

const all = ["test/**/*.test.ts"]

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

export default defineConfig({
  test: {
    reporters: ["default", "./test/support/summary.ts"],
    projects: [
      tests,
      ...(hasNewerClient ? [newer] : []),
      {
        test: {
          ...common,
          name: "load",
          include: load,
          sequence: { groupOrder: 1 },
          poolOptions: { forks: { singleFork: true } }
        }
      }
    ]
  }
})
