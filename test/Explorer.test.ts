import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
// No server takes a path that would have to be escaped.
import { explorerPage } from "../src/core/server/explorerPage.js"
import { startHttpServer } from "../src/Promises.js"
import { type Answer, get } from "./support/httpClient.js"
import { refused, serverKinds, someMetrics, started } from "./support/servers.js"
import { root } from "./support/snippets.js"

const token = "0123456789abcdef"
const asBrowser = {
  accept: "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
}

/** Who is no browser, and accepts what. */
const others: ReadonlyArray<{ readonly who: string; readonly headers: Readonly<Record<string, string>> }> = [
  { who: "nothing", headers: {} },
  { who: "a Consul agent", headers: { accept: "text/plain, text/*, */*" } },
  { who: "curl", headers: { accept: "*/*" } },
  { who: "any text", headers: { accept: "text/*" } },
  { who: "no HTML", headers: { accept: "text/html;q=0, */*" } },
  { who: "HTML in a quoted parameter", headers: { accept: 'text/plain;x="a,text/html"' } }
]

const elements = (body: string, tag: string): ReadonlyArray<string> =>
  [...body.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, "g"))].map(([, text = ""]) => text)

const directives = ({ headers }: Answer): Readonly<Record<string, string>> =>
  Object.fromEntries(
    String(headers["content-security-policy"])
      .split("; ")
      .map((directive) => [directive.split(" ")[0], directive.split(" ").slice(1).join(" ")])
  )

const hashOf = (text = ""): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

for (const kind of serverKinds) {
  describe(`a metrics server ${kind.name} answers / to`, () => {
    it.scopedLive("a browser with the explorer: one document that needs nothing else, under a strict policy", () =>
      Effect.gen(function* () {
        const { healthUrl } = yield* started(kind, {}, { registry: someMetrics() })
        const page = yield* get(healthUrl, { headers: asBrowser })
        assert.strictEqual(page.status, 200)
        assert.strictEqual(page.headers["content-type"], "text/html; charset=utf-8")
        assert.strictEqual(page.headers["x-content-type-options"], "nosniff")
        assert.strictEqual(page.headers["referrer-policy"], "no-referrer")
        const scripts = elements(page.body, "script")
        const styles = elements(page.body, "style")
        assert.strictEqual(scripts.length, 1)
        assert.strictEqual(styles.length, 1)
        assert.isAbove(scripts[0]?.length ?? 0, 5_000)
        assert.deepStrictEqual(directives(page), {
          "default-src": "'none'",
          "script-src": hashOf(scripts[0]),
          "style-src": hashOf(styles[0]),
          "connect-src": "'self'",
          "img-src": "data:",
          "base-uri": "'none'",
          "form-action": "'none'",
          "frame-ancestors": "'none'",
          "require-trusted-types-for": "'script'",
          "trusted-types": "'none'"
        })
        const addresses = [...page.body.matchAll(/\b(?:src|href|action)="([^"]*)"/g)].map(([, address = ""]) => address)
        for (const address of addresses) assert.match(address, /^(\.\/metrics$|data:image\/svg)/)
        // The name of a namespace is no address.
        assert.notMatch(page.body.replaceAll("http://www.w3.org/2000/svg", ""), /https?:/)
      })
    )

    it.scopedLive("a browser with the same bytes for any registry, compressed if it accepts that", () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        const { healthUrl } = yield* started(kind, { path: "/internal/metrics" }, { registry })
        const page = yield* get(healthUrl, { headers: asBrowser })
        assert.include(page.body, 'id="raw" href="./internal/metrics"')
        new Gauge({ name: "secret_plan", help: "h", registers: [registry] })
        const again = yield* get(healthUrl, { headers: { ...asBrowser, "accept-encoding": "gzip" } })
        assert.strictEqual(again.headers["content-encoding"], "gzip")
        assert.strictEqual(again.headers.vary, "Accept, Accept-Encoding")
        assert.deepStrictEqual(gunzipSync(again.bytes), page.bytes)
        assert.isBelow(again.bytes.byteLength, 24 * 1_024)
      })
    )

    for (const { headers, who } of others) {
      it.scopedLive(`${who} with the small page`, () =>
        Effect.gen(function* () {
          const { healthUrl } = yield* started(kind, {}, { registry: someMetrics() })
          const page = yield* get(healthUrl, { headers })
          assert.strictEqual(page.status, 200)
          assert.isBelow(page.bytes.byteLength, 1_024)
          assert.include(page.body, '<a href="./metrics">')
          assert.notInclude(page.body, "<script")
          assert.include(page.headers.vary, "Accept")
        })
      )
    }

    it.scopedLive("a browser with the small page where there is to be no explorer", () =>
      Effect.gen(function* () {
        const { healthUrl } = yield* started(kind, { explorer: false })
        const page = yield* get(healthUrl, { headers: asBrowser })
        assert.deepStrictEqual(page.bytes, (yield* get(healthUrl)).bytes)
        assert.notInclude(page.body, "<script")
      })
    )

    it.scopedLive("a HEAD with the headers of a GET, and another method with 405", () =>
      Effect.gen(function* () {
        const { healthUrl } = yield* started(kind)
        const page = yield* get(healthUrl, { headers: asBrowser })
        const head = yield* get(healthUrl, { headers: asBrowser, method: "HEAD" })
        assert.strictEqual(head.status, 200)
        assert.strictEqual(head.body, "")
        for (const name of ["content-length", "content-type", "content-security-policy", "vary"]) {
          assert.strictEqual(head.headers[name], page.headers[name], name)
        }
        const post = yield* get(healthUrl, { headers: asBrowser, method: "POST" })
        assert.strictEqual(post.status, 405)
        assert.strictEqual(post.headers.allow, "GET, HEAD")
      })
    )

    it.scopedLive("clients without credentials with 401, unless the health page is open; the metrics stay closed", () =>
      Effect.gen(function* () {
        const closed = yield* started(kind, { authentication: { tokens: [token] } })
        const stranger = yield* get(closed.healthUrl, { headers: asBrowser })
        assert.strictEqual(stranger.status, 401)
        assert.notInclude(stranger.body, "<script")
        const friend = yield* get(closed.healthUrl, { headers: { ...asBrowser, authorization: `Bearer ${token}` } })
        assert.include(friend.body, "<script")
        const open = yield* started(kind, { authentication: { tokens: [token], openHealthPage: true } })
        assert.include((yield* get(open.healthUrl, { headers: asBrowser })).body, "<script")
        assert.strictEqual((yield* get(open.url, { headers: asBrowser })).status, 401)
      })
    )

    it.scopedLive("a browser without a scrape: it is not counted, and a failing metric does not affect it", () =>
      Effect.gen(function* () {
        const registry = someMetrics()
        new Gauge({ name: "broken", help: "h", registers: [registry], collect: () => assert.fail("it was read") })
        const { healthUrl, url } = yield* started(kind, { onError: "continue" }, { registry })
        for (let times = 0; times < 3; times += 1) {
          assert.strictEqual((yield* get(healthUrl, { headers: asBrowser })).status, 200)
        }
        assert.include((yield* get(url)).body, 'effect_prometheus_scrapes_total{code="200"} 0\n')
      })
    )

    it.scopedLive("no request if the option explorer is invalid, as it does not start", () =>
      Effect.gen(function* () {
        const { message, reason } = yield* refused(started(kind, { explorer: "no" as never }))
        assert.strictEqual(reason, "InvalidOptions")
        assert.strictEqual(message, 'explorer must be true or false, not "no"')
      })
    )
  })
}

describe("The explorer", () => {
  it("escapes the path of the metrics", () => {
    const hostile = `/"><script>alert(1)</script>&'$&$1{{style}}`
    const body = new TextDecoder().decode(explorerPage(hostile).body)
    const expected = "./&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;$&amp;$1{{style}}"
    assert.include(body, `href="${expected}"`)
    assert.strictEqual(elements(body, "script").length, 1)
    assert.notInclude(body, "<script>alert")
  })

  it.scopedLive("is served to plain promises as well, or is not", () =>
    Effect.gen(function* () {
      for (const explorer of [undefined, false]) {
        const server = yield* Effect.acquireRelease(
          Effect.promise(() =>
            startHttpServer({ host: "127.0.0.1", registry: new PromRegistry(), log: false, explorer })
          ),
          (handle) => Effect.promise(() => handle.close())
        )
        const { body } = yield* get(server.healthUrl, { headers: asBrowser })
        assert.strictEqual(body.includes("<script"), explorer === undefined)
      }
    })
  )

  it("is loaded at the first request, and not with the package", () => {
    for (const format of ["esm", "cjs"]) {
      const folder = join(root, "dist", format)
      const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js"))
      const holding = files.filter((file) => readFileSync(join(folder, file), "utf8").includes("Metrics explorer"))
      assert.deepStrictEqual(holding, [join("explorer", "built.js")])
      const importing = (name: string) =>
        files.filter((file) => {
          const text = readFileSync(join(folder, file), "utf8")
          const imports = text.matchAll(/^(?:import|export)[^"]*"([^"]+)"|^const .*= require\("([^"]+)"\)/gm)
          return [...imports].some(([, from, required]) => (from ?? required)?.endsWith(`/${name}`))
        })
      assert.deepStrictEqual(importing("built.js"), [join("core", "server", "explorerPage.js")])
      assert.deepStrictEqual(importing("explorerPage.js"), [])
    }
  })
})
