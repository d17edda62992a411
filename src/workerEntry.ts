/**
 * The file of the worker thread. It is beside this file: bundlers resolve it here, and users copy it beside their bundle.
 * This is the only file with `import.meta`, which CommonJS does not have: `.ci/commonjs.mjs` replaces it.
 */
export const workerEntry = (): URL => new URL("./worker.mjs", import.meta.url)
