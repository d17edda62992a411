import { defineConfig } from "vitest/config"

const common = { testTimeout: 30_000, hookTimeout: 60_000 }

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
