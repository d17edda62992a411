import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { get } from "./support/httpClient.js"
import { proxy } from "./support/reverseProxy.js"
import { serverKinds, someMetrics, started } from "./support/servers.js"

const asBrowser = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" }

const pages = [
  { title: "the small page", options: {}, headers: {} },
  { title: "the page without an explorer", options: { explorer: false }, headers: asBrowser },
  { title: "the explorer", options: {}, headers: asBrowser }
]

for (const kind of serverKinds) {
  describe(`Behind a proxy, a metrics server ${kind.name}`, () => {
    for (const prefix of ["", "/svc-a", "/team/svc-a"]) {
      for (const path of ["/metrics", "/a/b/metrics"] as const) {
        for (const { headers, options, title } of pages) {
          it.scopedLive(`has links on ${title} that lead to ${path} below ${prefix === "" ? "no path" : prefix}`, () =>
            Effect.gen(function* () {
              const { address } = yield* started(kind, { ...options, path }, { registry: someMetrics() })
              const page = `${yield* proxy(prefix, address.port)}/`
              const { body, status } = yield* get(page, { headers })
              assert.strictEqual(status, 200)
              const links = [...body.matchAll(/<a\b[^>]*\bhref="([^"]+)"/g)].map(([, link = ""]) => new URL(link, page))
              assert.isNotEmpty(links)
              for (const { href } of links) {
                const answer = yield* get(href)
                assert.strictEqual(answer.status, 200, href)
                assert.include(answer.body, "\njobs_total 3\n")
              }
            })
          )
        }
      }
    }
  })
}
