// @ts-check
/**
 * Loads the client that is installed: prom-client, or `@prometheus-io/client` if there is no prom-client.
 *
 * This file is CommonJS in both builds, because the failure of a static import cannot be caught. Each `require` is
 * directly in a `try` block: bundlers accept there that the package does not exist.
 */

/**
 * @typedef {Pick<typeof import("prom-client"), "Counter" | "Gauge" | "Histogram" | "Registry" | "register" | "Summary">} Client
 */

/** @type {() => { readonly name: string; readonly client: Client }} */
const load = () => {
  let cause
  try {
    return { name: "prom-client", client: require("prom-client") }
  } catch (error) {
    cause = error
  }
  // webpack warns of a package that does not exist, also in a `try` block. It evaluates this condition, and ignores the
  // block. With webpack, the other client needs an alias.
  // @ts-expect-error: only webpack defines it
  if (typeof __webpack_require__ !== "function") {
    try {
      /** @type {any} */
      const client = require("@prometheus-io/client")
      return { name: "@prometheus-io/client", client }
    } catch {
      // The first failure says more.
    }
  }
  throw new Error(
    `effect-prometheus cannot load a Prometheus client (${cause}). Install one: npm install prom-client@15. ` +
      'For a bundle, see "Bundlers" in node_modules/effect-prometheus/docs/troubleshooting.md',
    { cause }
  )
}

const installed = load()

/**
 * The other one is not loaded for this, and bundlers do not follow this `require`. In a bundle the answer is no. If
 * prom-client is an alias of the other one, pnpm gives both names to the same files: then there is one client.
 */
const hasBothClients = () => {
  try {
    const { resolve } = process.getBuiltinModule("node:module").createRequire(__filename)
    return installed.name === "prom-client" && resolve("prom-client") !== resolve("@prometheus-io/client")
  } catch {
    return false
  }
}

module.exports = { ...installed, hasBothClients }
