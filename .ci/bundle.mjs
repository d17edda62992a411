/**
 * Builds the files that `tsc` does not emit, for both formats: the worker's entry, as one file that can be copied beside
 * an application's bundle, and the explorer page.
 */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises"
import { build, transform } from "esbuild"

await build({
  entryPoints: ["src/core/worker/entry.ts"],
  outfile: "dist/esm/worker.mjs",
  bundle: true,
  format: "esm",
  platform: "node",
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning"
})
for (const file of ["worker.mjs", "worker.mjs.map"]) await copyFile(`dist/esm/${file}`, `dist/cjs/${file}`)

const explorer = "src/explorer/built.js"
for (const format of ["esm", "cjs"]) {
  await mkdir(`dist/${format}/explorer`, { recursive: true })
  const { code } = await transform(await readFile(explorer, "utf8"), { format })
  await writeFile(`dist/${format}/explorer/built.js`, code)
}
