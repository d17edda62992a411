/**
 * The tests that run over prom-client 15 only. All others run a second time with `@prometheus-io/client` in its place,
 * where Node.js has what that needs; see `vitest.config.ts`.
 */
import * as module from "node:module"

/** Files below `test`, by the reason why the other client would give the same results. */
export const overOneClient: Readonly<Record<string, ReadonlyArray<string>>> = {
  "They are about functions, promises and streams that are measured; test/Metrics.test.ts records them.": [
    "test/Promises.generators.test.ts",
    "test/Promises.wrappedFunctions.test.ts",
    "test/Promises.customPromises.test.ts",
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
    "test/Exposition.fakeTimers.test.ts",
    "test/Exposition.eventLoop.test.ts",
    "test/MetricsServer.collectors.test.ts",
    "test/MetricsServer.workerReports.test.ts"
  ],
  "They are about the metrics of Effect, which a client has no part in.": [
    "test/EffectMetrics.otherInternals.test.ts",
    "test/EffectMetrics.properties.test.ts",
    "test/EffectMetrics.test.ts",
    "test/EffectMetrics.invalidValues.test.ts",
    "test/integration/EffectMetrics.test.ts"
  ],
  "There is no metric in them.": [
    "test/Exposition.compression.test.ts",
    "test/Exposition.parser.test.ts",
    "test/MetricsServer.validate.test.ts",
    "test/ServiceDiscovery.test.ts"
  ],
  "They are about connections, certificates, credentials and shutdown, whatever is served.": [
    "test/integration/configurations.test.ts",
    "test/integration/runtimes.test.ts",
    "test/MetricsServer.authentication.test.ts",
    "test/MetricsServer.connectionEviction.test.ts",
    "test/MetricsServer.clientCertificates.test.ts",
    "test/MetricsServer.workerCrash.test.ts",
    "test/MetricsServer.secretFiles.test.ts",
    "test/MetricsServer.allowedHosts.test.ts",
    "test/MetricsServer.limits.test.ts",
    "test/MetricsServer.malformedRequests.test.ts",
    "test/MetricsServer.passwords.test.ts",
    "test/MetricsServer.certificateReload.test.ts",
    "test/MetricsServer.arbitraryRequests.test.ts",
    "test/MetricsServer.shutdown.test.ts",
    "test/MetricsServer.unauthenticated.test.ts",
    "test/MetricsServer.tls.test.ts",
    "test/Secrets.canary.test.ts",
    "test/integration/security.test.ts"
  ],
  "They are about what the agent receives and knows; test/integration/endToEnd.test.ts scrapes what it registers.": [
    "test/ConsulAgent.responses.test.ts",
    "test/ConsulAgent.recovery.test.ts",
    "test/ConsulAgent.process.test.ts",
    "test/ConsulAgent.config.test.ts",
    "test/ConsulAgent.test.ts",
    "test/integration/ConsulAgent.recovery.test.ts",
    "test/integration/ConsulAgent.test.ts",
    "test/integration/discovery.test.ts"
  ],
  "The shortcut leads to the series of prom-client 15 alone; what else it says, it says of both clients.": [
    "test/Exposition.directRead.test.ts"
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
    "test/Explorer.fileDescriptors.test.ts",
    "test/Explorer.hostileInput.test.ts",
    "test/Explorer.lastMinute.test.ts",
    "test/Explorer.parsing.test.ts",
    "test/Explorer.promql.test.ts",
    "test/Explorer.rows.test.ts",
    "test/Explorer.summary.test.ts",
    "test/Explorer.test.ts",
    "test/integration/Explorer.access.test.ts",
    "test/integration/Explorer.limits.test.ts",
    "test/integration/Explorer.injection.test.ts",
    "test/integration/Explorer.promql.test.ts",
    "test/integration/Explorer.rows.test.ts",
    "test/integration/Explorer.test.ts"
  ],
  "They are about requests, routes and links; test/HttpMetrics.test.ts and test/Promises.http.test.ts record requests.":
    [
      "test/HttpMetrics.bodies.test.ts",
      "test/HttpMetrics.exchanges.test.ts",
      "test/HttpMetrics.http2.test.ts",
      "test/HttpMetrics.layers.test.ts",
      "test/HttpMetrics.countedOnce.test.ts",
      "test/HttpMetrics.routes.test.ts",
      "test/HttpMetrics.transparency.test.ts",
      "test/HttpMetrics.tracing.test.ts",
      "test/MetricsServer.proxy.test.ts",
      "test/Promises.expressRoute.test.ts",
      "test/Promises.frameworks.test.ts",
      "test/Promises.honoMetrics.test.ts",
      "test/Promises.http.withoutServer.test.ts",
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

/** The note in a run's summary if the second client is left out. */
export const notOverBoth = hasNewerClient
  ? undefined
  : `left out: the tests over @prometheus-io/client, which needs Node.js 22.15 or newer here; this is ${process.version}`
