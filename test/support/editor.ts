/** What an editor shows of the built package, by TypeScript's language server as in Visual Studio Code. */
import { spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { root } from "./snippets.js"

/** A folder that has the package and its peers as dependencies, with a client in the place of `prom-client`. */
export const application = (client: string): { readonly path: string; readonly remove: () => void } => {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "application-")))
  const link = (name: string, target: string): void => {
    const link = join(path, "node_modules", name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(target, link)
  }
  link("effect-prometheus", root)
  for (const name of ["effect", "@effect", "@types"]) link(name, join(root, "node_modules", name))
  link("prom-client", join(root, "node_modules", client))
  writeFileSync(join(path, "package.json"), '{ "type": "module" }')
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}

interface Text {
  readonly text: string
}

/** The hover text of a name. */
export interface QuickInfo {
  readonly displayString: string
  readonly documentation: string
  readonly tags: ReadonlyArray<{ readonly name: string; readonly text?: string }>
}

/** The help inside the parentheses of a call. */
export interface Signature {
  readonly documentation: ReadonlyArray<Text>
  readonly parameters: ReadonlyArray<{ readonly name: string }>
}

/** A diagnostic of the compiler. */
export interface Diagnostic {
  readonly start: { readonly line: number }
  readonly text: string
}

/** An editor in which files are open. A place in a file is behind a text, where that is followed by another one. */
export class Editor {
  private readonly server = spawn(process.execPath, [
    join(root, "node_modules", "typescript", "lib", "tsserver.js"),
    "--disableAutomaticTypingAcquisition",
    "--suppressDiagnosticEvents"
  ])
  private readonly waiting = new Map<number, (message: Answer) => void>()
  private readonly files = new Map<string, string>()
  private output: Buffer = Buffer.alloc(0)
  private asked = 0

  constructor(private readonly folder: string) {
    this.server.stdout.on("data", (part: Buffer) => this.read(part))
    // As Visual Studio Code has it for files that no project is about.
    const options = { module: "ESNext", moduleResolution: "Bundler", target: "ES2022", allowJs: true, strict: true }
    this.send("compilerOptionsForInferredProjects", { options })
  }

  close(): void {
    this.server.kill()
  }

  /** Opens a file with that content. */
  open(name: string, content: string): void {
    this.files.set(name, content)
    this.send("open", { file: join(this.folder, name), fileContent: content })
  }

  async diagnostics(file: string): Promise<ReadonlyArray<Diagnostic>> {
    const kinds = ["syntacticDiagnosticsSync", "semanticDiagnosticsSync"]
    const found = await Promise.all(kinds.map((kind) => this.ask(kind, { file: join(this.folder, file) })))
    return found.flat() as ReadonlyArray<Diagnostic>
  }

  /** The names that are offered there. */
  async completions(file: string, behind: string): Promise<ReadonlyArray<string>> {
    const found = (await this.at("completionInfo", file, behind)) as Completions
    // Where nothing is known of a place, all names of the program are offered.
    return found.entries.filter(({ kind }) => kind !== "warning").map(({ name }) => name)
  }

  /** What is said of one of them. */
  async completion(file: string, behind: string, name: string): Promise<string> {
    const [details] = (await this.at("completionEntryDetails", file, behind, {
      entryNames: [name]
    })) as ReadonlyArray<{ readonly documentation?: ReadonlyArray<Text> }>
    return (details?.documentation ?? []).map(({ text }) => text).join("")
  }

  quickInfo(file: string, behind: string, before = ""): Promise<QuickInfo> {
    return this.at("quickinfo", file, behind, { before }) as Promise<QuickInfo>
  }

  async signatures(file: string, behind: string): Promise<ReadonlyArray<Signature>> {
    const found = (await this.at("signatureHelp", file, behind)) as
      | { readonly items: ReadonlyArray<Signature> }
      | undefined
    return found?.items ?? []
  }

  /** The files in which a name is defined. */
  async definition(file: string, behind: string, before = ""): Promise<ReadonlyArray<string>> {
    const found = (await this.at("definition", file, behind, { before })) as ReadonlyArray<{ readonly file: string }>
    return found.map((place) => place.file)
  }

  private at(command: string, file: string, behind: string, { before = "", ...more }: More = {}): Promise<unknown> {
    const content = this.files.get(file) ?? ""
    const position = content.lastIndexOf(`${behind}${before}`)
    if (position < 0) throw new Error(`${file} has no ${behind}${before}`)
    const lines = content.slice(0, position + behind.length).split("\n")
    const place = { line: lines.length, offset: (lines.at(-1) ?? "").length + 1 }
    return this.ask(command, { file: join(this.folder, file), ...place, ...more })
  }

  private ask(command: string, args: object): Promise<unknown> {
    const seq = this.send(command, args)
    return new Promise((resolve, reject) => {
      this.waiting.set(seq, ({ body, message, success }) =>
        success || message === "No content available."
          ? resolve(body)
          : reject(new Error(`${command} of ${JSON.stringify(args)}: ${message}`))
      )
    })
  }

  private send(command: string, args: object): number {
    this.asked += 1
    this.server.stdin.write(`${JSON.stringify({ seq: this.asked, type: "request", command, arguments: args })}\n`)
    return this.asked
  }

  private read(part: Buffer): void {
    this.output = Buffer.concat([this.output, part])
    for (;;) {
      const header = /^Content-Length: (\d+)\r\n\r\n/.exec(this.output.toString("latin1", 0, 64))
      if (header === null) return
      const end = header[0].length + Number(header[1])
      if (this.output.length < end) return
      const message = JSON.parse(this.output.toString("utf8", header[0].length, end)) as Answer
      this.output = this.output.subarray(end)
      if (message.type === "response") this.waiting.get(message.request_seq)?.(message)
    }
  }
}

interface More {
  readonly before?: string
  readonly entryNames?: ReadonlyArray<string>
}

interface Completions {
  readonly entries: ReadonlyArray<{ readonly name: string; readonly kind: string }>
}

interface Answer {
  readonly type: string
  readonly request_seq: number
  readonly success: boolean
  readonly message?: string
  readonly body?: unknown
}
