import { spawn } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import * as PromClient from "prom-client"
import { Registry as PromRegistry } from "prom-client"
import { httpMetrics, webHandler } from "../../src/Promises.js"
import { anyRegistry, registryOf } from "../support/arbitraryRegistries.js"
import { describeWith } from "../support/binaries.js"
import { bodyOf, bodyOnce } from "../support/expositions.js"
import { goldens } from "../support/goldenExpositions.js"
import { ask, eventually } from "../support/httpClient.js"
import { RegistryStatistics } from "../support/registryStatistics.js"
import { roundTripSeed, sampled } from "../support/roundTrip.js"
import { soak } from "../support/soak.js"

// What `promtool check metrics` exits with where it only has advice, on names and help.
const advice = 3

const count = soak(200)

interface Verdict {
  readonly code: number | null
  readonly said: string
}

describeWith(["promtool"], "promtool check metrics", ({ promtool }) => {
  const check = (body: string): Effect.Effect<Verdict> =>
    Effect.async((resume) => {
      let said = ""
      const process = spawn(promtool, ["check", "metrics"])
      process.stdout.on("data", (part) => {
        said += part
      })
      process.stderr.on("data", (part) => {
        said += part
      })
      process.on("error", (error) => resume(Effect.die(error)))
      process.on("close", (code) => resume(Effect.succeed({ code, said })))
      // It may have seen enough before it has read all.
      process.stdin.on("error", () => {})
      process.stdin.end(body)
    })

  // Lint advice is not about whether it can be parsed.
  const accepts = (body: string): Effect.Effect<number | null> =>
    Effect.map(check(body), ({ code, said }) => {
      assert.include([0, advice], code, `promtool exited with ${code}: ${said}\n${JSON.stringify(body)}`)
      assert.notInclude(said, "parsing error")
      return code
    })

  for (const { fill, onlyOn, title } of goldens) {
    it.live(`accepts ${title}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        if (onlyOn === "openmetrics") registry.setContentType(PromRegistry.OPENMETRICS_CONTENT_TYPE as never)
        fill(PromClient, registry)
        yield* accepts(yield* bodyOf(registry, "text"))
      })
    )
  }

  it.live(
    `accepts the first ${count} of the registries that are read back (seed ${roundTripSeed})`,
    () =>
      Effect.gen(function* () {
        const specs = sampled(anyRegistry, count)
        const codes = yield* Effect.forEach(
          specs,
          (spec) => Effect.flatMap(bodyOnce(registryOf(spec), "text"), accepts),
          { concurrency: 4 }
        )
        const advised = codes.filter((code) => code === advice).length
        const census = RegistryStatistics.of(specs)
        console.log(`accepted by promtool, ${advised} of them with advice on names and help: ${census}`)
        assert.strictEqual(census.registries, count)
        assert.isAbove(census.series, 10 * count)
      }).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    600_000
  )

  const naming: ReadonlyArray<readonly [what: string, options: object]> = [
    ["by default", {}],
    ["with sizes", { sizes: true }],
    ["with the names of OpenTelemetry", { names: "otel" }],
    ["with the names of OpenTelemetry and sizes", { names: "otel", sizes: true }]
  ]
  for (const [what, options] of naming) {
    it.scopedLive(
      `has nothing to say of the metrics of requests ${what}, but of the default metrics of the client`,
      () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const measure = httpMetrics({ registry, ...options })
          const server = createServer((request, response) => {
            measure(request, response, () => (request.url === "/missing" ? undefined : request.url))
            response.end("answer")
          })
          yield* Effect.acquireRelease(
            Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
            () => Effect.sync(() => server.close())
          )
          const { port } = server.address() as AddressInfo
          for (const path of ["/users", "/missing"]) yield* Effect.promise(() => ask(`http://127.0.0.1:${port}${path}`))
          yield* eventually(
            "both have ended",
            async () =>
              [...(await registry.metrics()).matchAll(/^http_\w+duration_seconds_count\{.* 1$/gm)].length === 2
          )
          const handler = webHandler({ registry })
          const exposed = Effect.promise(async () => (await handler(new Request("http://test/metrics"))).text())
          assert.deepStrictEqual(yield* check(yield* exposed), { code: 0, said: "" })
          PromClient.collectDefaultMetrics({ register: registry })
          const { said } = yield* check(yield* exposed)
          const about = said.split("\n").flatMap((line) => (line === "" ? [] : [line.split(/[\s":]/)[0]]))
          for (const name of about) assert.match(name ?? "", /^(?:nodejs|process)_/, said)
        })
    )
  }

  it.live("refuses what is no exposition", () =>
    Effect.gen(function* () {
      for (const body of [
        "up{job=no quotes} 1\n",
        "# TYPE up counter\n# TYPE up counter\nup 1\n",
        "up one\n",
        "up 1"
      ]) {
        const { code, said } = yield* check(body)
        assert.notInclude([0, advice], code, said)
      }
    })
  )
})
