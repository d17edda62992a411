import { resolve } from "node:path"

const common = { entry: "./application.mjs", target: "node20", mode: "production" }

/** The format of the bundle. `require` of the package's CommonJS files comes from `commonjs.cjs`. */
export default [
  {
    ...common,
    experiments: { outputModule: true },
    output: { path: resolve("webpack"), filename: "application.mjs", module: true, chunkFormat: "module" }
  },
  { ...common, entry: "./commonjs.cjs", output: { path: resolve("webpack-commonjs"), filename: "application.cjs" } }
]
