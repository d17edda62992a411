/** The tests that run over Effect 3 and over Effect 4. */
export const sharedTests: ReadonlyArray<string> = [
  "Metrics*.test.ts",
  "StreamMetrics*.test.ts",
  "Registry*.test.ts",
  "DefaultMetrics*.test.ts",
  "ServiceDiscovery.test.ts",
  "ConsulAgent*.test.ts",
  "MetricsServer*.test.ts",
  "EffectMetrics*.test.ts"
]
