/** Runs a program of `fresh/` in a process of its own, with nothing warm but the disk, and gives what it sends. */
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
      // Standard output is for the report.
      stdio: ["ignore", 2, 2, "ipc"]
    })
    let found: { readonly message: unknown } | undefined
    child.once("message", (message) => {
      found = { message }
      child.disconnect()
    })
    child.once("error", reject)
    // Not before it is gone, so that it takes nothing from whoever is next.
    child.once("exit", (code, signal) => {
      if (found === undefined) reject(new Error(`${program} ended with ${signal ?? code}, and sent nothing`))
      else resolve(found.message as A)
    })
  })

/** Sends what the program found to whoever started it, and ends it when that has arrived. */
export const report = (message: object): void => {
  process.once("disconnect", () => process.exit())
  process.send?.(message)
}
