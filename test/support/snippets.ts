import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import ts from "typescript"

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** A piece of code in a text, with the heading or the export that it is under. */
export interface Snippet {
  readonly title: string
  readonly code: string
}

/** The fenced blocks of a language in a Markdown file. */
export const fencedBlocks = (file: string, language: string): ReadonlyArray<Snippet> => {
  const snippets: Array<Snippet> = []
  let title = ""
  let code: Array<string> | undefined
  for (const line of readFileSync(join(root, file), "utf8").split("\n")) {
    if (code === undefined) {
      if (line.startsWith("#")) title = line.replace(/^#+ /, "")
      if (line === `\`\`\`${language}`) code = []
    } else if (line === "```") {
      snippets.push({ title, code: code.join("\n") })
      code = undefined
    } else code.push(line)
  }
  return snippets
}

/** Writes code where the package resolves by its own name, as it does for who has installed it. */
export const writeSnippets = (folder: string, snippets: ReadonlyArray<Snippet>): ReadonlyArray<string> => {
  const path = join(root, "test", ".snippets", folder)
  rmSync(path, { recursive: true, force: true })
  mkdirSync(path, { recursive: true })
  return snippets.map(({ code }, index) => {
    const file = join(path, `${index}.ts`)
    writeFileSync(file, `${code}\n`)
    return file
  })
}

/** The diagnostics of those files, with the compiler's strictest options. */
export const diagnostics = (files: ReadonlyArray<string>): ReadonlyArray<string> => {
  const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root)
  const program = ts.createProgram(files, { ...options, noUnusedLocals: false })
  return ts.getPreEmitDiagnostics(program).map((found) =>
    ts.formatDiagnostic(found, {
      getCurrentDirectory: () => root,
      getCanonicalFileName: String,
      getNewLine: () => "\n"
    })
  )
}

/** A program of the test's own that runs. */
export interface Running {
  readonly child: ChildProcess
  readonly output: () => string
  readonly exited: Promise<number | null>
}

const tsx = createRequire(import.meta.url).resolve("tsx")

/** Runs a TypeScript file. Whoever runs it ends it. */
export const run = (
  file: string,
  environment: Readonly<Record<string, string>> = {},
  args: ReadonlyArray<string> = []
): Running => {
  const child = spawn(process.execPath, ["--import", tsx, file, ...args], {
    cwd: root,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text
    })
  }
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve))
  return { child, output: () => output, exited }
}
