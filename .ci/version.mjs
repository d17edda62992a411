/** Writes the version of package.json into the sources and the lock file: the second part of `npm run version`. */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"

const { version } = JSON.parse(readFileSync("package.json", "utf8"))
const file = "src/core/util/build.ts"
const text = readFileSync(file, "utf8")
writeFileSync(file, text.replace(/version = "[^"]*"/, `version = "${version}"`))
execFileSync("npm", ["install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund"], {
  stdio: "inherit"
})
