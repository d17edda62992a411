import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { patience as defaultPatience } from "./timing.js"

/** A process that has ended. */
export interface ProcessResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  /** From the last that it wrote until it ended. */
  readonly lingered: number
}

export interface ChildOptions {
  /** The program that runs the file, with its arguments. Default: this Node.js. */
  readonly runtime?: readonly [string, ...ReadonlyArray<string>]
  readonly args?: ReadonlyArray<string>
  readonly execArgv?: ReadonlyArray<string>
  /** Added to the environment of the tests. */
  readonly env?: Readonly<Record<string, string>>
  /** Sends that signal as soon as this was written. */
  readonly signal?: { readonly on: string; readonly name: NodeJS.Signals }
  /** After how many milliseconds it is killed. Default: twice as long as tests wait for something. */
  readonly patience?: number
}

const run = (
  file: string,
  { args = [], env, execArgv = [], patience = 2 * defaultPatience, runtime = [process.execPath], signal }: ChildOptions
): Promise<ProcessResult> =>
  new Promise((resolve, reject) => {
    const [program, ...runtimeArgs] = runtime
    const child = spawn(program, [...runtimeArgs, ...execArgv, file, ...args], {
      env: { ...process.env, ...env },
      timeout: patience,
      killSignal: "SIGKILL"
    })
    let stdout = ""
    let stderr = ""
    let last = performance.now()
    child.stdout.on("data", (part) => {
      const before = stdout
      stdout += String(part)
      last = performance.now()
      if (signal !== undefined && stdout.includes(signal.on) && !before.includes(signal.on)) child.kill(signal.name)
    })
    child.stderr.on("data", (part) => {
      stderr += String(part)
    })
    child.on("error", reject)
    child.on("close", (code, ended) => {
      resolve({ code, signal: ended, stdout, stderr, lingered: performance.now() - last })
    })
  })

/** The file of an application below `test/fixtures`, where `effect-prometheus` is the package that was built. */
export const fixture = (name: string): URL => new URL(`../fixtures/${name}`, import.meta.url)

/** Runs a fixture to its end, or kills it after `patience`. */
export const runFixture = (name: string, options: ChildOptions = {}): Effect.Effect<ProcessResult> =>
  Effect.promise(() => run(fileURLToPath(fixture(name)), options))
