import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import ts from "typescript"
import { selfSigned } from "./support/certificates.js"
import { basic, bearer } from "./support/credentials.js"
import { freePorts } from "./support/services.js"
import { diagnostics, fencedBlocks, type Running, root, run, writeSnippets } from "./support/snippets.js"
import { patience } from "./support/timing.js"

const modules = readdirSync(join(root, "src"))
  .filter((file) => /^[A-Z]\w+\.ts$/.test(file))
  .map((file) => file.replace(".ts", ""))

const categories = [
  "models",
  "tags",
  "errors",
  "constructors",
  "layers",
  "config",
  "combinators",
  "encoding",
  "getters",
  "predicates"
]

const program = ts.createProgram(
  modules.map((name) => join(root, "src", `${name}.ts`)),
  { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022 }
)
const checker = program.getTypeChecker()

interface Documented {
  readonly name: string
  readonly text: string
  readonly tags: ReadonlyMap<string, ReadonlyArray<string>>
}

const exportsOf = (module: string): ReadonlyArray<Documented> => {
  const source = program.getSourceFile(join(root, "src", `${module}.ts`))
  const symbol = source && checker.getSymbolAtLocation(source)
  assert.isDefined(symbol, module)
  return checker.getExportsOfModule(symbol).flatMap((exported) => {
    const target = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
    const tags = new Map<string, Array<string>>()
    for (const { name, text } of target.getJsDocTags(checker)) {
      tags.set(name, [...(tags.get(name) ?? []), ts.displayPartsToString(text)])
    }
    if (tags.has("internal")) return []
    const text = ts.displayPartsToString(target.getDocumentationComment(checker))
    return [{ name: `${module}.${exported.name}`, text, tags }]
  })
}

const headers = modules.map((module) => {
  const [header = ""] = /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(join(root, "src", `${module}.ts`), "utf8")) ?? []
  return { module, header }
})

const exampleIn = (comment: string): ReadonlyArray<string> =>
  [...comment.matchAll(/@example\n([\s\S]*?)(?=\n \* @|\n \*\/)/g)].map(([, code = ""]) => code.replace(/^ \* ?/gm, ""))

describe("Every module", () => {
  for (const { module, header } of headers) {
    it(`${module} begins with what it is for, and an example if it is an entry point`, () => {
      assert.match(header, /@since \d/)
      if (module !== "Registry") assert.isNotEmpty(exampleIn(header))
    })
  }

  it("is in the barrel and in the package's exports, and nothing else is", () => {
    const barrel = readFileSync(join(root, "src", "index.ts"), "utf8")
    const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      readonly exports: Readonly<Record<string, unknown>>
    }
    assert.sameMembers(
      [...barrel.matchAll(/export \* as (\w+)/g)].map(([, name]) => name),
      modules
    )
    const others = [".", "./package.json"]
    assert.sameMembers(Object.keys(exports), [...others, ...modules.map((name) => `./${name}`)])
  })
})

describe("Every export", () => {
  for (const module of modules) {
    it(`of ${module} says what it does, since when, and in which category`, () => {
      for (const { name, text, tags } of exportsOf(module)) {
        assert.match(text, /^[A-Z].*\./s, name)
        assert.match(tags.get("since")?.[0] ?? "", /^\d+\.\d+\.\d+$/, name)
        assert.include(categories, tags.get("category")?.[0], name)
      }
    })
  }
})

describe("Every example in the documentation of the code", () => {
  it("compiles", () => {
    const rooms = ["promises"].flatMap((room) => readdirSync(join(root, "src", room)).map((file) => join(room, file)))
    const sources = [...modules.map((module) => `${module}.ts`), ...rooms].flatMap((file) =>
      exampleIn(readFileSync(join(root, "src", file), "utf8")).map((code) => ({ title: file, code }))
    )
    assert.isAbove(sources.length, 10)
    assert.deepEqual(diagnostics(writeSnippets("examples", sources)), [])
  })
})

const pages = [
  "README.md",
  "SECURITY.md",
  "CONTRIBUTING.md",
  "examples/README.md",
  "examples/monitoring/README.md"
].concat(
  readdirSync(join(root, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`)
)

describe("Every link in the documentation", () => {
  const packed = (): ReadonlySet<string> => {
    const packed = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: root,
      encoding: "utf8"
    })
    const [{ files }] = JSON.parse(packed) as [{ readonly files: ReadonlyArray<{ readonly path: string }> }]
    return new Set(files.map(({ path }) => path))
  }
  let shipped: ReadonlySet<string> | undefined

  for (const page of pages) {
    it(`leads somewhere: ${page}`, () => {
      for (const [, link = ""] of readFileSync(join(root, page), "utf8").matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(link)) continue
        const [path = "", anchor] = link.split("#")
        const file = path === "" ? page : join(dirname(page), path)
        assert.isTrue(existsSync(join(root, file)), `${page}: ${link}`)
        shipped ??= packed()
        const isShipped = shipped.has(file) || [...shipped].some((path) => path.startsWith(join(file, "/")))
        assert.isTrue(isShipped, `${page}: ${link} leads out of the package`)
        if (anchor !== undefined) assert.include(anchorsOf(file), anchor, `${page}: ${link}`)
      }
    })
  }

  // As they are made of headings where Markdown is shown.
  const anchorsOf = (file: string): ReadonlyArray<string> =>
    [...readFileSync(join(root, file), "utf8").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replace(/[^\w\- ]/g, "")
        .replaceAll(" ", "-")
    )
})

describe("Every snippet of the README and the guides", () => {
  const snippets = pages.flatMap((page) => fencedBlocks(page, "ts"))
  const titles = ["Start with Effect", "Functions, methods and promises"].concat(
    // Of the guides, those that serve or run to an end by themselves.
    ["With labels", "Get or create a metric", "Streams", "Node.js and Effect metrics", "TLS", "Authentication"],
    ["In an existing server", "@effect/platform", "Node.js frameworks"]
  )
  const started: Array<Running> = []
  afterAll(() => {
    for (const { child } of started) if (child.exitCode === null) child.kill("SIGKILL")
  })

  it("compiles", () => {
    assert.deepEqual(diagnostics(writeSnippets("readme", snippets)), [])
  })

  it("is a file of an application that `npm run package` runs, if it needs other packages", () => {
    const consumers = join(root, ".ci", "consumers")
    const files = pages.flatMap((page) => fencedBlocks(page, "typescript"))
    assert.isAbove(files.length, 1)
    for (const { code } of files) {
      const [, name = "", text = ""] = /^\/\/ (\S+)\n(.*)$/s.exec(code) ?? []
      const found = readdirSync(consumers).map((folder) => join(consumers, folder, name))
      const contents = found.filter((file) => existsSync(file)).map((file) => readFileSync(file, "utf8").trimEnd())
      assert.include(contents, text, name)
    }
  })

  /** Runs the snippet under that heading, with free ports in place of the printed ones. */
  const running = async (title: string, environment: Readonly<Record<string, string>> = {}) => {
    const snippet = snippets.find((candidate) => candidate.title === title)
    assert.isDefined(snippet, `no snippet under "${title}"`)
    const [application = 0, metrics = 0] = await Effect.runPromise(freePorts(2))
    const code = snippet.code.replaceAll("3000", String(application)).replaceAll("9464", String(metrics))
    const [file = ""] = writeSnippets(`readme-${title.toLowerCase().replace(/\W+/g, "-")}`, [{ title, code }])
    const program = run(file, environment)
    started.push(program)
    return { ...program, application: `http://127.0.0.1:${application}`, metrics: `127.0.0.1:${metrics}` }
  }

  const eventually = async (url: string, { output, exited }: Running): Promise<string> => {
    let over = false
    exited.then(() => {
      over = true
    })
    for (const deadline = Date.now() + patience; Date.now() < deadline && !over; ) {
      const response = await fetch(url).catch(() => undefined)
      if (response?.status === 200) return response.text()
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    return assert.fail(`${url} did not answer: ${output()}`)
  }

  const said = async (text: string, { output }: Running): Promise<void> => {
    for (const deadline = Date.now() + patience; Date.now() < deadline && !output().includes(text); ) {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    assert.include(output(), text)
  }

  const ended = async ({ child, exited, output }: Running): Promise<void> => {
    child.kill("SIGTERM")
    assert.strictEqual(await exited, 0, output())
  }

  it("is there under each heading that is run below, and each of the README is run", () => {
    for (const { title } of fencedBlocks("README.md", "ts")) assert.include(titles, title)
    for (const title of titles) {
      assert.isTrue(
        snippets.some((snippet) => snippet.title === title),
        title
      )
    }
  })

  it("Start with Effect: measures its requests", async () => {
    const program = await running("Start with Effect")
    const body = await eventually(`${program.application}/checkout`, program)
    assert.strictEqual(body, "thank you\n")
    assert.include(await eventually(`http://${program.metrics}/metrics`, program), "checkout_seconds_count 1\n")
    await ended(program)
  })

  for (const title of ["With labels", "Get or create a metric", "Streams"]) {
    it(`${title}: runs`, async () => {
      const { exited, output } = await running(title)
      assert.strictEqual(await exited, 0, output())
    })
  }

  it("Node.js and Effect metrics: serves the metrics of Node.js and of Effect", async () => {
    const program = await running("Node.js and Effect metrics")
    const body = await eventually(`http://${program.metrics}/metrics`, program)
    assert.include(body, "process_cpu_seconds_total")
    assert.include(body, "effect_fiber_started_total")
    await ended(program)
  })

  it("@effect/platform: measures its requests by route", async () => {
    const program = await running("@effect/platform")
    assert.strictEqual(await eventually(`${program.application}/users/7`, program), "Ada\n")
    assert.include(
      await eventually(`http://${program.metrics}/metrics`, program),
      'http_server_requests_total{method="GET",route="/users/:id",status="200"} 1\n'
    )
    await ended(program)
  })

  it("Node.js frameworks: measures the requests of Express by route", async () => {
    const program = await running("Node.js frameworks")
    assert.strictEqual(await eventually(`${program.application}/users/7`, program), "user 7\n")
    const body = await eventually(`${program.application}/metrics`, program)
    assert.include(body, 'http_server_requests_total{method="GET",route="/users/:id",status="200"} 1\n')
    assert.notInclude(body, 'route="/metrics"')
  })

  it("Functions, methods and promises: measures a function, a method and a promise", async () => {
    const program = await running("Functions, methods and promises")
    const body = await eventually(`http://${program.metrics}/metrics`, program)
    assert.include(body, "request_seconds_count")
    await said("order 7", program)
    await ended(program)
  })

  it("TLS: serves HTTPS", async () => {
    const { key, cert } = await selfSigned()
    const environment = { METRICS_TLS_KEY: key, METRICS_TLS_CERT: cert, NODE_EXTRA_CA_CERTS: "" }
    const program = await running("TLS", environment)
    await said(`metrics at https://${program.metrics}/metrics`, program)
    await ended(program)
  })

  it("Authentication: lets in who knows the password, whose hash the command makes, or a token", async () => {
    const command = fencedBlocks("docs/production.md", "sh").find(({ title }) => title === "Authentication")
    assert.isDefined(command)
    const password = "correct horse battery staple"
    const hash = execFileSync("sh", ["-c", command.code], {
      cwd: root,
      input: `${password}\n`,
      encoding: "utf8"
    }).trim()
    const environment = { METRICS_PASSWORD_HASH: hash, METRICS_TOKENS: "0123456789abcdef,another-long-token" }
    const program = await running("Authentication", environment)
    await eventually(`http://${program.metrics}/`, program)
    const status = async (authorization: string) =>
      (await fetch(`http://${program.metrics}/metrics`, { headers: { authorization } })).status
    assert.strictEqual(await status(basic("prometheus", password).authorization), 200)
    assert.strictEqual(await status(bearer("another-long-token").authorization), 200)
    assert.strictEqual(await status(basic("prometheus", `${password} `).authorization), 401)
    await ended(program)
  })

  it("In an existing server: mounts the metrics", async () => {
    const program = await running("In an existing server")
    assert.strictEqual(await eventually(program.application, program), "hello\n")
    assert.include(await eventually(`${program.application}/metrics`, program), "effect_prometheus_errors_total")
    await ended(program)
  })
})
