import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { certificate } from "./support/certificates.js"
import { runFixture } from "./support/childProcess.js"
import { soak } from "./support/soak.js"

interface InUse {
  /** In bytes. */
  readonly heap: number
  readonly external: number
  /** How many there are of each kind. */
  readonly resources: Readonly<Record<string, number>>
  readonly threads: number
  /** Of the process, by event. */
  readonly listeners: Readonly<Record<string, number>>
}

interface LeakReport {
  readonly times: number
  readonly before: InUse
  readonly after: InUse
}

// At full size each is a quarter of a minute on a machine that does nothing else.
const patience = 900_000

// Code that was compiled meanwhile would pass for what was not let go: a collection throws it away.
const flags = ["--expose-gc", "--stress-flush-code"]

// And code that runs rarely is not compiled.
const interpreted = ["--no-opt", "--no-maglev", "--no-sparkplug"]

const cases = [
  {
    what: "servers",
    times: soak(2_000),
    title: "starts and stops of a server, half of them with TLS",
    more: interpreted
  },
  { what: "workers", times: soak(200), title: "starts and stops of a server in a worker thread", more: interpreted },
  {
    what: "scrapes",
    times: soak(20_000),
    title: "scrapes over HTTP and HTTPS, of the thread and of a worker",
    more: []
  },
  { what: "series", times: soak(200), title: "rounds of 2,000 series that are created, scraped and removed", more: [] }
]

const shown = ({ external, heap, listeners, resources, threads }: InUse): string => {
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
  const counts = JSON.stringify({ resources, listeners })
  return `${megabytes(heap)} of heap, ${megabytes(external)} outside of it, ${threads} threads, ${counts}`
}

describe("An application on the built package", () => {
  for (const { more, times, title, what } of cases) {
    it.live(
      `holds no more than before after ${times} ${title}`,
      () =>
        Effect.gen(function* () {
          const { code, signal, stderr, stdout } = yield* runFixture("leaks.mjs", {
            args: [what, String(times)],
            execArgv: [...flags, ...more],
            env: { TLS: JSON.stringify(yield* certificate) },
            patience
          })
          // A warning of too many listeners would be there.
          assert.deepStrictEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: "" })
          const { after, before, times: done } = JSON.parse(stdout) as LeakReport
          console.log(`${times} ${title}: ${shown(before)} before, ${shown(after)} after`)
          assert.strictEqual(done, times)
          assert.isAtMost(after.heap, 1.05 * before.heap)
          assert.isAtMost(after.external, 1.05 * before.external)
          const { resources, threads, listeners } = before
          assert.deepInclude(after, { resources, threads, listeners })
        }),
      patience
    )
  }
})
