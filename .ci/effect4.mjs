/**
 * Prepares the sources for Effect 4, in src/v4: copies of the files that import from src/compat or src/runtime, which
 * have a twin of the same name there. All other files run with either version of Effect, and exist once.
 *
 * A copy differs from its original in the paths of what is not copied, and in the name of the package in examples.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join, posix } from "node:path"
import { fileURLToPath } from "node:url"

const src = join(dirname(dirname(fileURLToPath(import.meta.url))), "src")
const twins = ["compat", "runtime"]

const roomOf = (file) => file.split("/")[0]
const isTwin = (file) => twins.includes(roomOf(file))
const isOfBoth = (file) => ["core", "promises", "explorer", "v4"].includes(roomOf(file))

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts") && !isOfBoth(file))

const target = (file, specifier) => posix.join(posix.dirname(file), specifier).replace(/\.js$/, ".ts")

const importing = /(?<=from |import\()"(\.[^"]+)"/g

const importsOf = (file) =>
  [...readFileSync(join(src, file), "utf8").matchAll(importing)].map(([, specifier]) => target(file, specifier))

const imports = new Map(files.map((file) => [file, importsOf(file)]))

// A file differs if something that it imports does.
const differs = new Set(files.filter(isTwin))
for (let before = -1; before !== differs.size; ) {
  before = differs.size
  for (const [file, others] of imports) if (others.some((other) => differs.has(other))) differs.add(file)
}

/** The text, with other paths to the files that exist once. */
const copyOf = (file) =>
  readFileSync(join(src, file), "utf8")
    .replace(importing, (whole, specifier) => {
      const to = target(file, specifier)
      return differs.has(to) ? whole : `"${posix.relative(`v4/${posix.dirname(file)}`, to).replace(/\.ts$/, ".js")}"`
    })
    .replace(/(?<=^ \* .*from ")effect-prometheus(?=["/])/gm, "effect-prometheus/v4")

const v4 = join(src, "v4")
for (const name of readdirSync(v4))
  if (!isTwin(name) && name !== "tsconfig.json") rmSync(join(v4, name), { recursive: true })
for (const file of differs) {
  if (isTwin(file)) continue
  const to = join(v4, file)
  mkdirSync(dirname(to), { recursive: true })
  writeFileSync(to, copyOf(file))
}
