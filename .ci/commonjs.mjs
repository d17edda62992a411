/** Compiles the sources to CommonJS in dist/cjs, file by file, with declarations: `tsc` with other settings. */
import { writeFileSync } from "node:fs"
import { resolve } from "node:path"
import ts from "typescript"

const { fileNames, options } = ts.getParsedCommandLineOfConfigFile(
  "tsconfig.build.json",
  {
    module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Node10,
    esModuleInterop: true,
    verbatimModuleSyntax: false,
    noUnusedLocals: false,
    outDir: "dist/cjs"
  },
  { ...ts.sys, onUnRecoverableConfigFileDiagnostic: (diagnostic) => report([diagnostic]) }
)

/** What a file has in this build instead. */
const replacements = {
  "src/workerEntry.ts": ["import.meta.url", 'require("node:url").pathToFileURL(__filename)'],
  "src/core/util/build.ts": ['= "esm"', '= "cjs"'],
  "src/core/server/frontPage.ts": [
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the text of the source
    "return await import(/* webpackIgnore: true */ /* @vite-ignore */ `${pathToFileURL(path).href}?attempt=${attempts}`)",
    "throw error"
  ]
}

const host = ts.createCompilerHost(options)
const { readFile } = host
host.readFile = (name) => {
  const text = readFile(name)
  const file = Object.keys(replacements).find((file) => resolve(name) === resolve(file))
  if (file === undefined) return text
  const [from, to] = replacements[file]
  if (!text.includes(from)) throw new Error(`${file} has no ${from}`)
  return text.replace(from, to)
}

const report = (diagnostics) => {
  if (diagnostics.length === 0) return
  console.error(ts.formatDiagnostics(diagnostics, host))
  process.exit(1)
}

const program = ts.createProgram(fileNames, options, host)
const { diagnostics } = program.emit()
report([...ts.getPreEmitDiagnostics(program), ...diagnostics])

writeFileSync("dist/cjs/package.json", '{ "type": "commonjs", "sideEffects": false }\n')
