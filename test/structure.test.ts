import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { preProcessFile } from "typescript"
import { root } from "./support/snippets.js"

/**
 * The rooms of `src`, from the foundation up. A file imports from its own room and from rooms before it. The page of the
 * explorer is a program of its own, of which only the built texts are imported.
 */
const rooms = [
  "core/util",
  "core/exposition",
  "core/client",
  "core/instrument",
  "core/registry",
  "core/process",
  "core/http",
  "core/server",
  "core/worker",
  "core/consul",
  "compat",
  "effect",
  "runtime",
  "Registry",
  "Metrics",
  "StreamMetrics",
  "DefaultMetrics",
  "EffectMetrics",
  "HttpMetrics",
  "Exposition",
  "ServiceDiscovery",
  "workerEntry",
  "MetricsServer",
  "ConsulAgent",
  "promises",
  "Promises",
  "index"
]

/** A file of the sources, by its path in `src`, with what it imports and why: types are imports as well. */
interface Source {
  readonly file: string
  readonly imports: ReadonlyArray<string>
}

const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => /\.c?[jt]s$/.test(file) && !file.startsWith("explorer/") && !file.startsWith("v4/"))

const sources: ReadonlyArray<Source> = files.map((file) => ({
  file,
  imports: preProcessFile(readFileSync(join(root, "src", file), "utf8"), true, file.endsWith(".cjs")).importedFiles.map(
    ({ fileName }) => fileName
  )
}))

/** The file in `src` that a relative import leads to. */
const target = (file: string, specifier: string): string =>
  relative(join(root, "src"), join(root, "src", dirname(file), specifier)).replace(/\.js$/, ".ts")

const roomOf = (file: string): string => {
  const [first = "", second = ""] = file.split("/")
  return first === "core" ? `core/${second}` : first.replace(/\.ts$/, "")
}

const neighbours = new Map(
  sources.map(({ file, imports }) => [
    file,
    imports.filter((from) => from.startsWith(".") && !from.endsWith("/built.js")).map((from) => target(file, from))
  ])
)

/** A circle of imports, as the files that it goes through. */
const circle = (): ReadonlyArray<string> | undefined => {
  const done = new Set<string>()
  const path: Array<string> = []
  const from = (file: string): ReadonlyArray<string> | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    path.push(file)
    for (const next of neighbours.get(file) ?? []) {
      const found = from(next)
      if (found !== undefined) return found
    }
    path.pop()
    done.add(file)
    return undefined
  }
  for (const { file } of sources) {
    const found = from(file)
    if (found !== undefined) return found
  }
  return undefined
}

describe("The sources", () => {
  it("are in rooms, and each file imports from its own room and from rooms before it alone", () => {
    assert.sameMembers([...new Set(files.map(roomOf))], rooms)
    const wrong = [...neighbours].flatMap(([file, others]) =>
      others
        .filter((other) => rooms.indexOf(roomOf(other)) > rooms.indexOf(roomOf(file)))
        .map((other) => `${file} imports ${other}`)
    )
    assert.deepEqual(wrong, [])
  })

  it("have a twin for Effect 4, with the same exports, of files of compat and of runtime alone", () => {
    const twins = readdirSync(join(root, "src", "v4"), { recursive: true, encoding: "utf8" })
      .map((file) => file.replaceAll("\\", "/"))
      .filter((file) => /^(compat|runtime)\/.*\.ts$/.test(file))
    const originals = files.filter((file) => /^(compat|runtime)\//.test(file))
    assert.includeMembers(originals, twins)
    const exported = (file: string): ReadonlyArray<string> => {
      const text = readFileSync(join(root, "src", file), "utf8")
      const declared = text.matchAll(/^export (?:declare )?(?:const|function|class|interface|type) (\w+)/gm)
      const listed = [...text.matchAll(/^export (?:type |const )?\{([^}]*)\}/gm)].flatMap(([, names = ""]) =>
        names.split(",")
      )
      const names = listed.map((name) => name.replace(/^.* as |^\s*type /, "").trim())
      return [...new Set([...[...declared].map(([, name = ""]) => name), ...names])].sort()
    }
    for (const file of twins) assert.deepEqual(exported(`v4/${file}`), exported(file), file)
  })

  it("have no circle of imports, of types neither", () => {
    assert.isUndefined(circle(), circle()?.join(" → "))
  })

  it("have a core that knows no Effect, not even its types", () => {
    const wrong = sources
      .filter(({ file }) => file.startsWith("core/"))
      .flatMap(({ file, imports }) =>
        imports.filter((from) => !from.startsWith(".") && !from.startsWith("node:")).map((from) => `${file}: ${from}`)
      )
    assert.deepEqual(
      wrong.filter((line) => !line.startsWith("core/client/")),
      []
    )
  })

  it("load a client in one file, import its types in another one, and never a barrel", () => {
    const importing = (name: string) => sources.filter(({ imports }) => imports.includes(name)).map(({ file }) => file)
    for (const client of ["prom-client", "@prometheus-io/client"]) {
      assert.sameMembers(importing(client), ["core/client/installed.cjs", "core/client/clientTypes.ts"])
    }
    const types = readFileSync(join(root, "src", "core", "client", "clientTypes.ts"), "utf8")
    assert.notMatch(types, /^import (?!type)/m)
    for (const barrel of ["effect", "@effect/platform", "@effect/platform-node", "./index.js"]) {
      assert.deepEqual(importing(barrel), [], barrel)
    }
  })

  it("are where CONTRIBUTING.md says", () => {
    const [, text = ""] = readFileSync(join(root, "CONTRIBUTING.md"), "utf8").split("## Where things are")
    const named = [...text.matchAll(/`(?:src\/|core\/)?([\w/]+\.ts)`/g)].map(([, file = ""]) => file)
    assert.isAbove(named.length, 20)
    const known = [...files, ...readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })]
    const isKnown = (name: string) => known.some((file) => `/${file}`.endsWith(`/${name.replace(/^test\//, "")}`))
    assert.deepEqual(
      named.filter((name) => !isKnown(name)),
      []
    )
  })
})
