import { existsSync } from "node:fs"
import { availableParallelism } from "node:os"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { defineConfig, type Plugin } from "vitest/config"
import { sharedTests } from "./sharedTests.js"

const here = dirname(fileURLToPath(import.meta.url))
const root = resolve(here, "../..")

/** What a test imports by these names, with the names of Effect 3. */
const dialect: Record<string, string> = {
  effect: "effect.ts",
  "@effect/vitest": "vitest.ts"
}

const isTest = (file: string): boolean => relative(root, file).startsWith("test") && !file.includes("node_modules")

/** The same tests, with Effect 4 and the sources for it in the place of Effect 3 and of those. */
const onEffect4: Plugin = {
  name: "effect-4",
  enforce: "pre",
  resolveId(source, importer) {
    if (importer === undefined) return undefined
    const isDialect = importer.startsWith(`${here}/`)
    const own = dialect[source]
    if (own !== undefined && isTest(importer) && !isDialect) return join(here, own)
    if (/^(@effect\/|effect($|\/))/.test(source))
      return this.resolve(source, join(here, "package.json"), { skipSelf: true })
    if (!source.startsWith(".")) return undefined
    const file = resolve(dirname(importer), source).replace(/\.js$/, ".ts")
    const support = join(here, "support", relative(join(root, "test/support"), file))
    if (isTest(importer) && !isDialect && existsSync(support)) return support
    const inSources = relative(join(root, "src"), file)
    if (inSources.startsWith("..") || inSources.startsWith("v4")) return undefined
    const copy = join(root, "src", "v4", inSources)
    return existsSync(copy) && isTest(importer) ? copy : undefined
  }
}

export default defineConfig({
  root,
  plugins: [onEffect4],
  test: {
    name: "effect 4",
    include: sharedTests.map((file) => `test/${file}`),
    env: { CLIENT_OF_TESTS: "prom-client" },
    testTimeout: 30_000,
    hookTimeout: 120_000,
    maxWorkers: availableParallelism(),
    reporters: ["default", join(root, "test/support/summaryReporter.ts")]
  }
})
