import { spawn } from "node:child_process"
import { assert, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import * as fc from "fast-check"
import * as PromClient from "prom-client"
import { Registry as PromRegistry } from "prom-client"
import { describeWith } from "../support/binaries.js"
import { bodyOf } from "../support/expositions.js"
import { goldens } from "../support/goldens.js"
import { anyRegistry, registryOf } from "../support/registries.js"

// What `promtool check metrics` exits with where it only has advice, on names and help.
const advice = 3

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

  const accepts = (body: string): Effect.Effect<void> =>
    Effect.map(check(body), ({ code, said }) =>
      assert.include([0, advice], code, `promtool exited with ${code}: ${said}\n${JSON.stringify(body)}`)
    )

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

  const seed = Number(process.env["FAST_CHECK_SEED"] ?? 20_260_101)

  it.live(
    `accepts 30 registries of any content (seed ${seed})`,
    () =>
      Effect.forEach(
        fc.sample(anyRegistry, { seed, numRuns: 30 }),
        (spec) => Effect.flatMap(bodyOf(registryOf(spec), "text"), accepts),
        { concurrency: 4, discard: true }
      ).pipe(Effect.provide(Logger.remove(Logger.defaultLogger))),
    120_000
  )

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
