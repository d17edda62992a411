/** The version of this package. A test compares it with `package.json`, and `npm run version` writes it. */
export const version = "0.1.0"

/** `.ci/commonjs.mjs` replaces it. */
export const moduleFormat: "esm" | "cjs" = "esm"
