/** Runs a program of `fresh/` in a new process, where only the disk cache is warm, and returns the message that it sends. */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"

export const fresh = <A>(
  program: string,
  args: ReadonlyArray<string>,
  flags: ReadonlyArray<string> = ["--expose-gc"]
): Promise<A> =>
  new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL(`./fresh/${program}.ts`, import.meta.url)), args, {
      execArgv: ["--import", "tsx", ...flags],
      // Standard output is reserved for the report.
      stdio: ["ignore", 2, 2, "ipc"]
    })
    let found: { readonly message: unknown } | undefined
    child.once("message", (message) => {
      found = { message }
      child.disconnect()
    })
    child.once("error", reject)
    // Only after its exit, so that it takes no time from the next program.
    child.once("exit", (code, signal) => {
      if (found === undefined) reject(new Error(`${program} ended with ${signal ?? code} without a result`))
      else resolve(found.message as A)
    })
  })

/** Sends the result of the program to its parent, and ends the program when the result has arrived. */
export const report = (message: object): void => {
  process.once("disconnect", () => process.exit())
  process.send?.(message)
}
