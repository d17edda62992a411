/**
 * The tests that run over prom-client 15 only. All others run a second time with `@prometheus-io/client` in its place,
 * where Node.js has what that needs; see `vitest.config.ts`.
 */
import * as module from "node:module"

/** Files below `test`, by the reason why another client would show nothing more. */
export const overOneClient: Readonly<Record<string, ReadonlyArray<string>>> = {
  "They are about functions, promises and streams that are measured; test/Metrics.test.ts records them.": [
    "test/Promises.generators.test.ts",
    "test/Promises.kinds.test.ts",
    "test/Promises.results.test.ts",
    "test/StreamMetrics.fiberRefs.test.ts",
    "test/StreamMetrics.finalizers.test.ts",
    "test/StreamMetrics.test.ts"
  ],
  "They are about both clients by themselves.": [
    "test/Exposition.conflicts.test.ts",
    "test/Metrics.resets.test.ts",
    "test/integration/conflicts.test.ts",
    "test/integration/exemplars.test.ts"
  ],
  "They are about timers and about collectors that take their time.": [
    "test/Exposition.timers.test.ts",
    "test/Exposition.turns.test.ts",
    "test/MetricsServer.collectors.test.ts",
    "test/MetricsServer.reports.test.ts"
  ],
  "They are about the metrics of Effect, which a client has no part in.": [
    "test/EffectMetrics.kept.test.ts",
    "test/EffectMetrics.properties.test.ts",
    "test/EffectMetrics.test.ts",
    "test/EffectMetrics.values.test.ts",
    "test/integration/EffectMetrics.test.ts"
  ],
  "There is no metric in them.": [
    "test/Exposition.compression.test.ts",
    "test/Exposition.parser.test.ts",
    "test/MetricsServer.validate.test.ts",
    "test/ServiceDiscovery.test.ts"
  ],
  "They are about connections, certificates, credentials and shutdown, whatever is served.": [
    "test/integration/runtimes.test.ts",
    "test/MetricsServer.authentication.test.ts",
    "test/MetricsServer.places.test.ts",
    "test/MetricsServer.certificates.test.ts",
    "test/MetricsServer.crash.test.ts",
    "test/MetricsServer.files.test.ts",
    "test/MetricsServer.hosts.test.ts",
    "test/MetricsServer.limits.test.ts",
    "test/MetricsServer.malformed.test.ts",
    "test/MetricsServer.passwords.test.ts",
    "test/MetricsServer.reload.test.ts",
    "test/MetricsServer.requests.test.ts",
    "test/MetricsServer.shutdown.test.ts",
    "test/MetricsServer.strangers.test.ts",
    "test/MetricsServer.tls.test.ts",
    "test/Secrets.canary.test.ts",
    "test/integration/security.test.ts"
  ],
  "They are about what the agent is told and knows; test/integration/whole-way.test.ts scrapes what it registers.": [
    "test/ConsulAgent.answers.test.ts",
    "test/ConsulAgent.healing.test.ts",
    "test/ConsulAgent.process.test.ts",
    "test/ConsulAgent.settings.test.ts",
    "test/ConsulAgent.test.ts",
    "test/integration/ConsulAgent.healing.test.ts",
    "test/integration/ConsulAgent.test.ts",
    "test/integration/discover.test.ts"
  ],
  "The shortcut leads to the series of prom-client 15 alone; what else it says, it says of both clients.": [
    "test/Exposition.shortcut.test.ts"
  ],
  "Minutes of starts and stops, to see that the library lets go of what it had.": ["test/MetricsServer.leaks.test.ts"],
  "They are about what the declarations of this package say, over both clients where that can differ.": [
    "test/javascript.editor.test.ts",
    "test/javascript.exports.test.ts",
    "test/types.test.ts"
  ],
  "They are about processes, bundles and what is loaded; test/clients.test.ts runs an application over each client.": [
    "test/MetricsServer.process.test.ts",
    "test/package.test.ts"
  ],
  "They are about what the documentation says.": ["test/documentation.defaults.test.ts", "test/documentation.test.ts"],
  "They are about the explorer's page, which reads an exposition.": [
    "test/Explorer.descriptors.test.ts",
    "test/Explorer.hostile.test.ts",
    "test/Explorer.reading.test.ts",
    "test/Explorer.test.ts",
    "test/integration/Explorer.access.test.ts",
    "test/integration/Explorer.limits.test.ts",
    "test/integration/Explorer.places.test.ts",
    "test/integration/Explorer.test.ts"
  ],
  "They are about requests, routes and links; test/HttpMetrics.test.ts and test/Promises.http.test.ts record requests.":
    [
      "test/HttpMetrics.bodies.test.ts",
      "test/HttpMetrics.exchanges.test.ts",
      "test/HttpMetrics.http2.test.ts",
      "test/HttpMetrics.layers.test.ts",
      "test/HttpMetrics.once.test.ts",
      "test/HttpMetrics.routes.test.ts",
      "test/HttpMetrics.same.test.ts",
      "test/HttpMetrics.tracing.test.ts",
      "test/MetricsServer.proxy.test.ts",
      "test/Promises.expressRoute.test.ts",
      "test/Promises.frameworks.test.ts",
      "test/Promises.honoMetrics.test.ts",
      "test/Promises.http.objects.test.ts",
      "test/Promises.http.outcomes.test.ts",
      "test/Promises.koaRoute.test.ts"
    ],
  "They are about frameworks and the demo, and about what Prometheus makes of it.": [
    "test/examples.test.ts",
    "test/integration/examples.test.ts",
    "test/integration/monitoring.test.ts"
  ]
}

/** Node.js 22.15: the client asks for 22, and what puts it in the place of the other one is there since then. */
export const hasNewerClient = "registerHooks" in module

/** What a run says of the second client where it is left out. */
export const notOverBoth = hasNewerClient
  ? undefined
  : `left out: the tests over @prometheus-io/client, which needs Node.js 22.15 or newer here; this is ${process.version}`
