// @ts-check
/**
 * Loads the client that is installed: prom-client, or `@prometheus-io/client` if there is no prom-client.
 *
 * This file is CommonJS in both builds, because the failure of a static import cannot be caught. Each `require` is
 * directly in a `try` block: bundlers accept there that the package does not exist.
 */
const { createRequire } = require("node:module")

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
  try {
    /** @type {any} */
    const client = require("@prometheus-io/client")
    return { name: "@prometheus-io/client", client }
  } catch {
    throw new Error("no Prometheus client found: install prom-client 15 or @prometheus-io/client 0.16", { cause })
  }
}

const installed = load()

/** Not loaded, and with a `require` that bundlers do not follow. In a bundle the answer is no. */
const hasBothClients = () => {
  try {
    createRequire(__filename).resolve("@prometheus-io/client")
    return installed.name === "prom-client"
  } catch {
    return false
  }
}

module.exports = { ...installed, hasBothClients }
