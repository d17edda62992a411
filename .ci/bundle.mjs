/**
 * Bundles what `tsc` does not emit: each public module as a file of its own, with what they share beside it, and the
 * worker's entry as one file that stands alone.
 */
import { readdir, readFile } from "node:fs/promises"
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
    // What is only loaded when it is needed is so as well, or what it shares with the others would be a file more.
    onResolve({ filter: /^\./ }, ({ kind, path }) =>
      kind === "dynamic-import" ? { path: `entry:internal/${basename(path, ".js")}`, namespace: "entry" } : undefined
    )
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

// Node.js finds a module anew for each file that imports it, which takes longer than most of ours take to run. So those of
// Effect that both files need are handed by one to the other.
const once = {
  name: "once",
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^once:/ }, ({ path }) => ({ path: path.slice("once:".length), namespace: "once" }))
    onLoad({ filter: /./, namespace: "once" }, ({ path }) => ({
      contents: `export * as ${basename(path)} from "${path}"`,
      resolveDir: "src"
    }))
    onLoad({ filter: /\bsrc\/.*\.ts$/ }, async ({ path }) => ({
      loader: "ts",
      contents: (await readFile(path, "utf8")).replaceAll(
        /^import \* as (\w+) from "(@?effect\/.*?(\w+))"$/gm,
        'import { $3 as $1 } from "once:$2"'
      )
    }))
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
  plugins: [together, once]
})

await build({ ...shared, entryPoints: ["src/internal/worker.ts"], outfile: "dist/internal/worker.mjs" })
