/** The threads in which Node.js compresses, reads files and looks up names. */
import { execFileSync } from "node:child_process"
import { close, mkdtempSync, open, openSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"

// What libuv makes of it.
const size = Number(process.env["UV_THREADPOOL_SIZE"] ?? 4)

const closeQuietly = (descriptor: number): void => close(descriptor, () => {})

/** Blocks all of them until the returned effect runs or the scope ends: each opens a pipe that has no writer. */
export const occupied: Effect.Effect<Effect.Effect<void>, never, Scope.Scope> = Effect.gen(function* () {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "pipes-"))),
    (made) => Effect.sync(() => rmSync(made, { recursive: true }))
  )
  const pipes = Array.from({ length: size }, (_, index) => join(directory, String(index)))
  execFileSync("mkfifo", pipes)
  for (const pipe of pipes) open(pipe, "r", (_, descriptor) => closeQuietly(descriptor))
  const release = yield* Effect.cached(
    // To open one for both ends does not wait.
    Effect.sync(() => pipes.map((pipe) => openSync(pipe, "r+")).forEach(closeQuietly))
  )
  yield* Effect.addFinalizer(() => release)
  return release
})
