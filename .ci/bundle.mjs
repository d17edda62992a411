/**
 * Bundles what `tsc` does not emit: each public module as a file of its own, with what they share beside it, and the
 * worker's entry as one file that stands alone.
 */
import { readdir } from "node:fs/promises"
import { basename } from "node:path"
import { build } from "esbuild"

const modules = (await readdir("src")).filter((file) => file.endsWith(".ts")).map((file) => basename(file, ".ts"))

// These are loaded without the rest, by who only measures.
const light = ["Registry", "Metrics"]
const heavy = modules.filter((name) => !light.includes(name))

// Loading costs by the file more than by its size. What the same entries reach comes into one file: so each of the heavy
// ones reaches all of them.
const together = {
  name: "together",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^entry:/ }, ({ path }) => ({ path, namespace: "entry" }))
    onLoad({ filter: /./, namespace: "entry" }, ({ path }) => {
      const name = path.slice("entry:".length)
      const others = light.includes(name) ? light : heavy
      return {
        contents: [`export * from "./${name}.js"`, ...others.map((other) => `import "./${other}.js"`)].join("\n"),
        resolveDir: "src"
      }
    })
  }
}

const shared = {
  bundle: true,
  format: "esm",
  platform: "node",
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning"
}

await build({
  ...shared,
  entryPoints: modules.map((name) => ({ in: `entry:${name}`, out: name })),
  outdir: "dist",
  splitting: true,
  packages: "external",
  // `sideEffects: false` would take away the imports that bring them together.
  ignoreAnnotations: true,
  plugins: [together]
})

await build({ ...shared, entryPoints: ["src/internal/worker.ts"], outfile: "dist/internal/worker.mjs" })
