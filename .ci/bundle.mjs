/**
 * Builds the files that `tsc` does not emit: the worker's entry, as one file that can be copied beside an application's
 * bundle, and the explorer page.
 */
import { copyFile, mkdir } from "node:fs/promises"
import { build } from "esbuild"

await build({
  entryPoints: ["src/core/worker/entry.ts"],
  outfile: "dist/worker.mjs",
  bundle: true,
  format: "esm",
  platform: "node",
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning"
})

await mkdir("dist/explorer", { recursive: true })
await copyFile("src/explorer/built.js", "dist/explorer/built.js")
