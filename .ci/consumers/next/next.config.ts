import type { NextConfig } from "next"

const config: NextConfig = {
  serverExternalPackages: ["effect-prometheus", "prom-client"],
  // Only for `output: "standalone"` with webpack, which does not find the file of the worker thread.
  outputFileTracingIncludes: { "/*": ["node_modules/effect-prometheus/dist/*/worker.mjs"] },
  output: "standalone"
}

export default config
