import { defineConfig } from "vitest/config"

// What waits in vain says for what before that: see test/support/times.ts.
const common = { testTimeout: 120_000, hookTimeout: 120_000 }

// What compares times, or takes all of the machine: one file after the other, once all others are done.
const load = ["test/**/*.load.test.ts"]

export default defineConfig({
  test: {
    reporters: ["default", "./test/support/summary.ts"],
    projects: [
      { test: { ...common, name: "tests", include: ["test/**/*.test.ts"], exclude: load } },
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
