import commonjs from "@rollup/plugin-commonjs"
import json from "@rollup/plugin-json"
import resolve from "@rollup/plugin-node-resolve"

export default {
  input: "application.mjs",
  output: { dir: "rollup", format: "esm", entryFileNames: "application.mjs" },
  plugins: [resolve({ preferBuiltins: true, exportConditions: ["node"] }), commonjs(), json()],
  // Of other packages.
  onwarn: ({ code }, log) => ["CIRCULAR_DEPENDENCY", "THIS_IS_UNDEFINED"].includes(code) || log(code)
}
