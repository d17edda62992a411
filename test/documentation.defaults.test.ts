import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge } from "prom-client"
import ts from "typescript"
// What a server waits and holds by default shows in minutes and in thousands of connections only: these are asked instead.
import { checkedAuthentication } from "../src/internal/authentication.js"
import { checkedSettings } from "../src/internal/settings.js"
import { checkedTls, type TlsOptions } from "../src/internal/tls.js"
import type * as MetricsServer from "../src/MetricsServer.js"
import { get, rawConnection } from "./support/http.js"
import { inThisThread, logging, someMetrics, started } from "./support/servers.js"
import { root } from "./support/snippets.js"

const { listen, sources, ...settings } = checkedSettings({})
const files = { key: "key.pem", cert: "cert.pem" }
const tls = checkedTls(files)
const withAuthorities = checkedTls({ ...files, ca: "ca.pem" })

/** What the code does, times in milliseconds, and in the words of the tables what is no value. */
const server = {
  ...settings,
  ...listen.limits,
  host: listen.host ?? "all interfaces",
  port: listen.port,
  tls: sources ?? "plain HTTP",
  allowedHosts: listen.allowedHosts ?? "any unless on a loopback address where everybody is let in",
  authentication: listen.authentication ?? "everybody",
  // These are shown by a server, below.
  compression: true,
  onError: "fail",
  selfMetrics: true,
  workerUrl: "the file in this package"
} satisfies Record<keyof MetricsServer.WorkerOptions, unknown>

const secure = {
  "key, cert, passphrase": "",
  ca: tls.ca ?? "none",
  clientCertificate: `"${withAuthorities.clientCertificate}" if ca is given, else "${tls.clientCertificate}"`,
  allowedNames: withAuthorities.allowedNames ?? "every name",
  minVersion: tls.minVersion,
  reloadInterval: tls.reloadInterval
} satisfies Partial<Record<keyof TlsOptions, unknown>> & { readonly "key, cert, passphrase": string }

const units = { milliseconds: 1, seconds: 1_000, KiB: 1_024 } as const

/** What is written there: a number with or without a unit, code, or words. */
const written = (text: string): unknown => {
  const [, number, unit] = /^(\d[\d,]*)(?: (milliseconds|seconds|KiB))?/.exec(text) ?? []
  if (number !== undefined) {
    return Number(number.replaceAll(",", "")) * (unit === undefined ? 1 : units[unit as keyof typeof units])
  }
  const [, code] = /^`([^`]*)`$/.exec(text) ?? []
  if (code === undefined) return text.replaceAll("`", "")
  return code.startsWith("/") ? code : JSON.parse(code)
}

/** The first two columns of the table below that line. */
const table = (file: string, head: string): Readonly<Record<string, unknown>> => {
  const [, below = ""] = readFileSync(join(root, file), "utf8").split(`\n${head}\n`)
  const [rows = ""] = below.split("\n\n")
  return Object.fromEntries(
    [...rows.matchAll(/^\| (.+?) \| ?(.*?) ?\| .*\|$/gm)]
      .filter(([, option]) => option !== "---")
      .map(([, option = "", text = ""]) => [option.replaceAll("`", ""), written(text)])
  )
}

interface Row {
  readonly layer: string
  readonly option: string
  readonly text: string
  readonly unit: string
}

/** The one table of all options. */
const rows: ReadonlyArray<Row> = [
  ...readFileSync(join(root, "docs/options.md"), "utf8").matchAll(
    /^\| `(\S+?)`.*? \| (.+?) \| ?(.*?) ?\| (.+?) \|.*\|$/gm
  )
].map(([, layer = "", option = "", text = "", unit = ""]) => ({
  layer,
  option: option.replaceAll("`", "").replace(/ \((worker|code)\)/, ""),
  text,
  unit
}))

const optionsOf = (layer: string): Readonly<Record<string, unknown>> =>
  Object.fromEntries(rows.filter((row) => row.layer === layer).map(({ option, text }) => [option, written(text)]))

/** What the docstrings of a file say after "Default:", up to the reason for it, by the name of each property. */
const docstrings = (file: string): Readonly<Record<string, unknown>> => {
  const source = readFileSync(join(root, "src", file), "utf8")
  return Object.fromEntries(
    [...source.matchAll(/\/\*\*((?:(?!\*\/).)*)\*\/\s+readonly (\w+)\?:/gs)].flatMap(([, comment = "", name = ""]) => {
      const text = comment.replace(/\s*\n\s*\*?\s*/g, " ").trim()
      const [, said] = /Default: (.+?)[.,;]?(?:(?<=[.,;]) |$)/.exec(text) ?? /(`[^`]+`) \(default\)/.exec(text) ?? []
      return said === undefined ? [] : [[name, written(said)]]
    })
  )
}

const picked = (all: object, names: ReadonlyArray<string>) =>
  Object.fromEntries(Object.entries(all).filter(([name]) => names.includes(name)))

describe("The defaults in the documentation are those of the code", () => {
  it("in the table of a server's options, where each of them is", () => {
    assert.deepStrictEqual(optionsOf("MetricsServer"), server)
  })

  it("in the table of the options of TLS", () => {
    assert.deepStrictEqual(optionsOf("MetricsServer.tls"), secure)
  })

  it("in the table of the page on security", () => {
    const limits = [...Object.keys(listen.limits), "scrapeTimeout", "maxScrapesInFlight", "allowedHosts"]
    const { openHealthPage } = checkedAuthentication({ tokens: ["0123456789abcdef"] })
    assert.deepStrictEqual(table("SECURITY.md", "| | default | why |"), {
      ...picked(server, limits),
      host: server.host,
      tls: `off: ${server.tls}`,
      "… lowest version": tls.minVersion.replace("TLSv", "TLS "),
      "… client certificates": `${withAuthorities.clientCertificate} as soon as a ca is given`,
      authentication: `off: ${server.authentication} who can connect may scrape`,
      "… /": openHealthPage ? "open" : "asks for credentials as well",
      // These are shown by a server, below and in `MetricsServer.malformed.test.ts`.
      "headers of a request": "at most 100",
      "request bodies": "not read, and the last of their connection"
    })
  })

  it("in the docstrings", () => {
    const limits = docstrings("internal/limits.ts")
    const scrapes = { ...docstrings("internal/serving.ts"), ...docstrings("Exposition.ts") }
    const own = docstrings("internal/settings.ts")
    const others = ["compression", "scrapeTimeout", "maxScrapesInFlight", "selfMetrics", "onError", "path"]
    assert.deepStrictEqual(limits, { ...listen.limits })
    assert.deepStrictEqual(picked(scrapes, others), picked(server, others))
    assert.deepStrictEqual(own, { ...picked(server, Object.keys(own)) })
    const documented = new Set([limits, scrapes, own].flatMap(Object.keys))
    assert.includeMembers([...documented], Object.keys(server))
    const { clientCertificate, ...rest } = docstrings("internal/tls.ts")
    assert.deepStrictEqual(rest, picked(secure, ["ca", "allowedNames", "minVersion", "reloadInterval"]))
    assert.strictEqual(clientCertificate, `"${withAuthorities.clientCertificate}" if ca is given`)
  })
})

describe("The table of all options", () => {
  const program = ts.createProgram(
    ["ConsulAgent", "HttpMetrics", "EffectMetrics", "DefaultMetrics", "Exposition", "MetricsServer"].map((name) =>
      join(root, "src", `${name}.ts`)
    ),
    {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      strict: true,
      exactOptionalPropertyTypes: true
    }
  )
  const checker = program.getTypeChecker()

  /** The options that the layer takes, or those of one of them, each with its documentation. */
  const taken = (path: string): ReadonlyMap<string, string> => {
    const [module = "", nested] = path.split(".")
    const source = program.getSourceFile(join(root, "src", `${module}.ts`))
    const symbol = source && checker.getSymbolAtLocation(source)
    const exported = (symbol ? checker.getExportsOfModule(symbol) : []).find(
      ({ name }) => name === (module === "MetricsServer" ? "layerWorker" : "layer")
    )
    assert.isDefined(exported, path)
    const [signature] = checker.getTypeOfSymbol(exported).getCallSignatures()
    const [parameter] = signature?.getParameters() ?? []
    assert.isDefined(parameter, path)
    const options = checker.getNonNullableType(checker.getTypeOfSymbol(parameter))
    const outer = nested === undefined ? undefined : checker.getPropertyOfType(options, nested)
    const type = outer === undefined ? options : checker.getNonNullableType(checker.getTypeOfSymbol(outer))
    // Of one that can be different things, such as a check, what any of them takes.
    const kinds = type.isUnion() ? type.types : [type]
    return new Map(
      kinds.flatMap((kind) =>
        checker
          .getPropertiesOfType(kind)
          .filter(
            (property) =>
              kind.flags & (ts.TypeFlags.Object | ts.TypeFlags.Intersection) && property.name !== "__proto__"
          )
          .map((property): [string, string] => [
            property.name,
            ts.displayPartsToString(property.getDocumentationComment(checker))
          ])
          .filter(([, documentation]) => documentation !== "" || kinds.length === 1)
      )
    )
  }

  const layers = [...new Set(rows.map(({ layer }) => layer))].filter((layer) => layer !== "Exposition")

  it("has every layer", () => {
    assert.sameMembers(layers, [
      "MetricsServer",
      "MetricsServer.tls",
      "MetricsServer.authentication",
      "ConsulAgent",
      "ConsulAgent.tls",
      "ConsulAgent.check",
      "HttpMetrics",
      "EffectMetrics",
      "DefaultMetrics"
    ])
  })

  it("is for layers that can all be read from configuration", () => {
    for (const module of new Set(["Exposition", ...layers.map((layer) => layer.replace(/\..*/, ""))])) {
      const source = program.getSourceFile(join(root, "src", `${module}.ts`))
      const symbol = source && checker.getSymbolAtLocation(source)
      const names = (symbol ? checker.getExportsOfModule(symbol) : []).map(({ name }) => name)
      // The environment of Consul's own tools is configuration already.
      const layersOf = names.filter((name) => /^layer(?!.*(Config|Env)$)/.test(name))
      assert.isNotEmpty(layersOf, module)
      for (const name of layersOf) assert.include(names, `${name}Config`, module)
    }
  })

  for (const layer of layers) {
    it(`has each option of ${layer}, and no other, with its unit and the default that its documentation says`, () => {
      const options = taken(layer)
      const named = rows.filter((row) => row.layer === layer)
      assert.sameMembers(
        named.flatMap(({ option }) => option.split(", ")),
        [...options.keys()]
      )
      for (const { option, text, unit } of named) {
        assert.isNotEmpty(unit, option)
        const documentation = (options.get(option) ?? "").replace(/\s+/g, " ")
        const [, said] = /Default: (.+?)[.;]?(?:(?<=[.;]) |$)/.exec(documentation) ?? []
        if (said !== undefined) assert.include(said.replaceAll("`", ""), text.replaceAll("`", ""), option)
      }
    })
  }
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

  it.scopedLive("listens on all interfaces, compresses, and tells about itself", () =>
    Effect.gen(function* () {
      const { address, https, url } = yield* started(inThisThread, { host: undefined }, { registry: someMetrics() })
      assert.include(["::", "0.0.0.0"], address.hostname)
      assert.isFalse(https)
      assert.isTrue(url.endsWith(String(settings.path)))
      const zipped = yield* get(url, { headers: { "accept-encoding": "gzip" } })
      assert.strictEqual(zipped.headers["content-encoding"], "gzip")
      assert.include((yield* get(url)).body, 'effect_prometheus_scrapes_total{code="200"} 1\n')
    })
  )

  it.scopedLive("answers 500 when a metric cannot be read", () =>
    Effect.gen(function* () {
      const { url } = yield* started(inThisThread, {}, { registry: broken() })
      assert.strictEqual((yield* get(url)).status, 500)
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
        () => import(new URL("../dist/MetricsServer.js", import.meta.url).href) as Promise<typeof MetricsServer>
      )
      const { url } = yield* built.makeWorker({ host: "127.0.0.1" })
      assert.strictEqual((yield* get(url)).status, 200)
    }).pipe(Effect.provide(logging().layer))
  )
})
