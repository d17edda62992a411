/**
 * The tests that run on each version of Node.js that the pipeline has: those of sockets, TLS, workers, streams and
 * processes. All others say the same on every version, and run on one of them. See `vitest.config.ts`.
 */
export const onEachVersion: ReadonlyArray<string> = [
  "test/ConsulAgent*.test.ts",
  "test/DefaultMetrics*.test.ts",
  "test/Exposition.{eventLoop,fakeTimers,largeRegistry,memory,seriesTextCache.registries,serving,sharedCollect,singleFlight}.test.ts",
  "test/HttpMetrics.{bodies,exchanges,http2}.test.ts",
  "test/HttpMetrics.test.ts",
  "test/MetricsServer*.test.ts",
  "test/Promises*.test.ts",
  "test/examples*.test.ts",
  "test/package.test.ts",
  "test/integration/{ConsulAgent,discovery,endToEnd,examples,scrape,security}.test.ts"
]
