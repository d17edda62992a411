import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge } from "prom-client"
import { current } from "../.ci/options.mjs"
import { connectionLimits } from "../src/core/server/connectionLimits.js"
import { tls as tlsOf } from "../src/core/server/tls/options.js"
import type * as MetricsServer from "../src/MetricsServer.js"
import { get, rawConnection } from "./support/httpClient.js"
import { inThisThread, logging, someMetrics, started } from "./support/servers.js"
import { root } from "./support/snippets.js"

const textOf = (file: string): string => readFileSync(join(root, file), "utf8")

/** The table of all options. The generator compares its defaults with the declarations and with the comments. */
const rows = [...textOf("docs/options.md").matchAll(/^\| `(\S+)` \| `(\w+)`.*? \| ?(.*?) ?\|/gm)].map(
  ([, layer = "", option = "", text = ""]) => ({ layer, option, text })
)

const defaultsOf = (layer: string): Readonly<Record<string, string>> =>
  Object.fromEntries(rows.filter((row) => row.layer === layer).map(({ option, text }) => [option, text]))

describe("The table of all options", () => {
  it("is what `npm run docs:options` generates from the declarations", async () => {
    assert.strictEqual(textOf("docs/options.md"), await current())
  })

  it("has every module with a layer that can be read from configuration", () => {
    const modules = readdirSync(join(root, "src")).filter(
      (file) => file.endsWith(".ts") && /\blayer\w*Config\b.* [=:{]/.test(textOf(`src/${file}`))
    )
    assert.sameMembers([...new Set(rows.map(({ layer }) => `${layer.replace(/\..*/, "")}.ts`))], modules)
  })

  it("says when clients need a certificate", () => {
    const files = { key: "key.pem", cert: "cert.pem" }
    const { clientCertificate } = tlsOf.check({ ...files, ca: "ca.pem" }, "tls")
    assert.strictEqual(
      defaultsOf("MetricsServer.tls")["clientCertificate"],
      `\`"${clientCertificate}"\` if \`ca\` is given and otherwise \`"${tlsOf.check(files, "tls").clientCertificate}"\``
    )
  })
})

describe("The other pages", () => {
  it("have the same defaults: the table of the page on security", () => {
    const [, below = ""] = textOf("SECURITY.md").split("\n| | default | why |\n| --- | --- | --- |\n")
    const [table = ""] = below.split("\n\n")
    const server = defaultsOf("MetricsServer")
    const { clientCertificate, minVersion } = defaultsOf("MetricsServer.tls")
    const { openHealthPage } = defaultsOf("MetricsServer.authentication")
    const named = ["host", "allowedHosts", "scrapeTimeout", "maxScrapesInFlight", ...Object.keys(connectionLimits)]
    assert.deepStrictEqual(
      Object.fromEntries([...table.matchAll(/^\| (.+?) \| (.+?) \|/gm)].map(([, name, text]) => [name, text])),
      {
        ...Object.fromEntries(named.map((name) => [`\`${name}\``, server[name]])),
        "`maxHeaderSize`": `${server["maxHeaderSize"]} bytes`,
        "`tls`": `off: ${server["tls"]}`,
        "… lowest version": minVersion?.replace(/`"TLSv(.*)"`/, "TLS $1"),
        "… client certificates": `${clientCertificate?.replace(/^`"(\w+)".*/, "$1")} as soon as a \`ca\` is given`,
        "`authentication`": `off: ${server["authentication"]}`,
        "… `/`": openHealthPage === "`false`" ? "asks for credentials as well" : "open",
        // These are shown by a server, below and in `MetricsServer.malformedRequests.test.ts`.
        "headers of a request": "at most 100",
        "request bodies": "not read; the connection is closed after the response"
      }
    )
  })

  it("do not repeat them in sentences", () => {
    const option = `\`(?:${rows.map((row) => row.option).join("|")})\``
    const repeated = new RegExp(`${option}(?:\\]\\(\\S+\\))? \\(\\d|\\d \\w+ \\(\\[?${option}`)
    for (const file of ["README.md", ...readdirSync(join(root, "docs"), "utf8").map((name) => `docs/${name}`)]) {
      if (file.endsWith(".md")) assert.isUndefined(repeated.exec(textOf(file))?.[0], file)
    }
  })
})

describe("A server without options", () => {
  const broken = () => {
    const registry = someMetrics()
    const collect = (): never => {
      throw new Error("no")
    }
    new Gauge({ name: "broken", help: "h", registers: [registry], collect })
    return registry
  }

  it.scopedLive("listens on all interfaces, compresses, and exposes its own metrics", () =>
    Effect.gen(function* () {
      const { address, https, url } = yield* started(inThisThread, { host: undefined }, { registry: someMetrics() })
      assert.include(["::", "0.0.0.0"], address.hostname)
      assert.isFalse(https)
      assert.isTrue(url.endsWith("/metrics"))
      const zipped = yield* get(url, { headers: { "accept-encoding": "gzip" } })
      assert.strictEqual(zipped.headers["content-encoding"], "gzip")
      assert.include((yield* get(url)).body, 'effect_prometheus_scrapes_total{code="200"} 1\n')
    })
  )

  it.scopedLive("serves the other metrics when one cannot be read", () =>
    Effect.gen(function* () {
      const { url } = yield* started(inThisThread, {}, { registry: broken() })
      const { body, status } = yield* get(url)
      assert.strictEqual(status, 200)
      assert.include(body, "\njobs_total 3\n")
    })
  )

  it.scopedLive("does not ask for the body of a request, nor wait for it", () =>
    Effect.gen(function* () {
      const { address } = yield* started(inThisThread, {}, { registry: someMetrics() })
      const { received, send } = yield* rawConnection(address.port)
      send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
      const text = yield* received((all) => all.includes("jobs_total 3\n"))
      assert.match(text, /^HTTP\/1\.1 200 /)
    })
  )

  it.scopedLive("starts its worker from the file in this package", () =>
    Effect.gen(function* () {
      const built = yield* Effect.promise(
        () => import(new URL("../dist/esm/MetricsServer.js", import.meta.url).href) as Promise<typeof MetricsServer>
      )
      const { url } = yield* built.makeWorker({ host: "127.0.0.1" })
      assert.strictEqual((yield* get(url)).status, 200)
    }).pipe(Effect.provide(logging().layer))
  )
})
