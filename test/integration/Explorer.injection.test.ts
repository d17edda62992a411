// Every place that untrusted text can reach, and every way that the page is served.
import { assert, it } from "@effect/vitest"
import { Effect, Logger, LogLevel, Metric } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import * as EffectMetrics from "../../src/EffectMetrics.js"
import { Registry } from "../../src/Registry.js"
import { describeWith } from "../support/binaries.js"
import { browser, refreshed, shown } from "../support/browser.js"
import { certificate } from "../support/certificates.js"
import { hashOf } from "../support/credentials.js"
import { assertClean, opened, texts } from "../support/explorer.js"
import { proxy } from "../support/reverseProxy.js"
import { inThisThread, serverKinds, started } from "../support/servers.js"

const attack = (place: string): string => `</script><img src=x onerror="window.injected='${place}'">`

describeWith(["chromium"], "In every place that untrusted text can reach", ({ chromium }) => {
  const launched = browser(chromium)

  for (const kind of serverKinds) {
    it.scopedLive(
      `it is text: names, tags, words and units of Effect's, behind a password, over https, below a path, ${kind.name}`,
      () =>
        Effect.gen(function* () {
          const registry = new PromRegistry()
          const gauge = Metric.gauge(`places.${attack("name")}`, { description: attack("help") })
          const tagged = gauge.pipe(
            Metric.tagged(attack("key"), attack("value")),
            Metric.tagged("unit", attack("unit"))
          )
          yield* Metric.set(tagged, 1)
          yield* Metric.update(Metric.frequency("places.words"), attack("word"))
          yield* Effect.provideService(EffectMetrics.make({ include: ["places.*"] }), Registry, registry)
          const { cert, key } = yield* certificate
          const options = {
            tls: { cert, key },
            path: "/some/metrics",
            authentication: { users: { me: hashOf("secret") } }
          }
          const server = yield* started(kind, options, { registry })
          const context = { httpCredentials: { username: "me", password: "secret" }, ignoreHTTPSErrors: true }
          const { page, traces } = yield* opened(yield* launched, server.healthUrl, context)
          yield* Effect.promise(async () => {
            await page.fill("#search", "places")
            await page.waitForFunction(() => document.querySelectorAll(".family").length === 2)
            for (const title of await page.locator(".title").all()) await title.click()
            await page.waitForSelector(".series .label")
            const all = (await texts(page, ".family")).join()
            for (const place of ["help", "value", "unit", "word"]) assert.include(all, attack(place))
            assert.include(all, "places_")
            // What is no name is made one before it is here.
            for (const name of await texts(page, ".label-name, .name")) assert.match(name, /^[a-z_][a-z0-9_]*$/i)
            await refreshed(page)
            await page.goto(
              `${server.healthUrl}?name[]=${encodeURIComponent(attack("query"))}#q=${encodeURIComponent(attack("q"))}`
            )
            await shown(page)
            assert.strictEqual(await page.inputValue("#search"), attack("q"))
            assert.strictEqual(
              await page.locator("#raw").evaluate((link) => (link as HTMLAnchorElement).href),
              server.url
            )
          })
          yield* assertClean(page, { ...traces, errors: [] })
        }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
    )
  }
})

describeWith(["chromium"], "Below a path of a proxy", ({ chromium }) => {
  const launched = browser(chromium)

  for (const path of ["/svc-a", "/svc-a/"]) {
    it.scopedLive(`the explorer reads the metrics there, as ${path}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        new Gauge({ name: "level", help: "h", registers: [registry] }).set(3)
        const server = yield* started(inThisThread, { path: "/some/metrics" }, { registry })
        const base = yield* proxy("/svc-a", server.address.port)
        const { page, traces } = yield* opened(yield* launched, base.replace("/svc-a", path))
        assert.include(yield* Effect.promise(() => texts(page, ".name")), "level")
        const link = yield* Effect.promise(() =>
          page.locator("#raw").evaluate((element) => (element as HTMLAnchorElement).href)
        )
        assert.strictEqual(link, `${base}/some/metrics`)
        yield* assertClean(page, { ...traces, errors: [] })
      })
    )
  }
})
