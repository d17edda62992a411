import { existsSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { application, Editor } from "./support/editor.js"
import { root } from "./support/snippets.js"

interface Manifest {
  readonly exports: Readonly<Record<string, { readonly types?: string } | string | null>>
  readonly files: ReadonlyArray<string>
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest

/** What can be imported besides the barrel, and the README's way to it. */
const modules = Object.entries(manifest.exports).flatMap(([path, target]) =>
  path === "." || target === null || typeof target === "string" ? [] : [path.slice("./".length)]
)

const folder = application("prom-client")
const editor = new Editor(folder.path)
afterAll(() => {
  editor.close()
  folder.remove()
})

/** The names of a module: those of its values and those of its types. */
const namesOf = async (module: string): Promise<{ readonly values: Names; readonly types: Names }> => {
  const file = `names-of-${module}.ts`
  editor.open(file, `import * as Module from "effect-prometheus/${module}"\nModule.\ntype Type = Module.`)
  const values = await editor.completions(file, "\nModule.")
  const types = await editor.completions(file, "= Module.")
  return { values, types: types.filter((name) => !values.includes(name)) }
}
type Names = ReadonlyArray<string>

describe.each(modules)("Of effect-prometheus/%s an editor", (module) => {
  const shown = Promise.all([namesOf(module)]).then(([names]) => {
    const file = `${module}.ts`
    const lines = [
      `import { ${module} as Barrel } from "effect-prometheus"`,
      `import * as Module from "effect-prometheus/${module}"`,
      ...names.values.flatMap((name) => [`Barrel.${name};`, `Barrel.${name}()`, `Module.${name};`, `Module.${name}()`]),
      ...names.types.flatMap((name, at) => [`type B${at} = Barrel.${name};`, `type M${at} = Module.${name};`])
    ]
    editor.open(file, lines.join("\n"))
    return { file, ...names }
  })

  it("shows what each export does, also where it is called", async () => {
    const { file, types, values } = await shown
    assert.isNotEmpty([...values, ...types])
    for (const name of [...values, ...types]) {
      const ends = values.includes(name) ? [";", "()"] : [";"]
      for (const end of ends) {
        for (const from of ["Barrel", "Module"]) {
          const { documentation, tags } = await editor.quickInfo(file, `${from}.${name}`, end)
          assert.match(documentation, /^[A-Z].*\./s, `${from}.${name}${end}`)
          const [category] = tags.filter((tag) => tag.name === "category").map(({ text }) => text)
          if (category !== "combinators") continue
          assert.include(
            tags.map((tag) => tag.name),
            "example",
            `${from}.${name}${end}`
          )
        }
      }
    }
  })

  it("goes to the source that is shipped", async () => {
    const { file, types, values } = await shown
    assert.include(manifest.files, "src")
    for (const name of [...values, ...types]) {
      const places = await editor.definition(file, `Module.${name}`, ";")
      assert.isNotEmpty(places, name)
      for (const place of places) {
        assert.match(
          dirname(place),
          new RegExp(`^${root}/src(?:/(?:compat|core|effect|promises|runtime)(?:/\\w+)*)?$`),
          name
        )
        assert.isTrue(existsSync(place), place)
      }
    }
  })

  it("names each parameter of each function", async () => {
    const { file, values } = await shown
    for (const name of values) {
      for (const { parameters } of await editor.signatures(file, `Module.${name}(`)) {
        for (const parameter of parameters) assert.match(parameter.name, /^(?!args?\d*$)[a-z]\w+$/i, name)
      }
    }
  })
})
