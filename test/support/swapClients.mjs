// Puts each of the two clients in the place of the other: an import or require of `prom-client` gets
// `@prometheus-io/client`, as with an alias in an application's dependencies. The other way round as well, so that tests
// about both still have both. It is a setup file of vitest; what its tests start has it too, processes and their threads.
import { registerHooks } from "node:module"

const older = "/node_modules/prom-client/"
const newer = "/node_modules/@prometheus-io/client/"

const other = (url) => (url.includes(older) ? url.replace(older, newer) : url.replace(newer, older))

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context)
    // What a client asks of its own files stays its own.
    return specifier.startsWith(".") ? resolved : { ...resolved, url: other(resolved.url) }
  }
})

const itself = `--import ${import.meta.url}`
const options = process.env.NODE_OPTIONS ?? ""
if (!options.includes(itself)) process.env.NODE_OPTIONS = `${options} ${itself}`.trim()
