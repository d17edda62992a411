import { fork } from "node:child_process"
import { once } from "node:events"
import { Agent } from "node:http"
import { setPriority } from "node:os"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import { assert, describe } from "@effect/vitest"
import { Effect } from "effect"
import { fixture } from "./support/childProcess.js"
import { basic, cheap, hashOf } from "./support/credentials.js"
import { ask } from "./support/httpClient.js"
import { serverKinds, someMetrics, started } from "./support/servers.js"
import { soak } from "./support/soak.js"
import { assertInTime, itInTime } from "./support/timing.js"

const password = "correct horse battery staple"
const recommended = { ln: 14, r: 8, p: 5 }

const tries = soak(2_000)

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** What the application compresses: 1 MiB of text. */
const text = Buffer.from(
  Array.from({ length: 16_384 }, (_, index) => `requests_total{code="200",n="${index}"} ${(index * 7_919) % 104_729}\n`)
    .join("")
    .slice(0, 2 ** 20)
)

const compressing = async (): Promise<number> => {
  const start = performance.now()
  await promisify(gzip)(text)
  return performance.now() - start
}

interface Over {
  readonly answers: Readonly<Record<string, number>>
  readonly milliseconds: number
}

/** A process that guesses on demand, with so many connections and guesses on each. */
const guesser = (port: number, connections: number, guesses: number) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const args = [String(port), String(connections), String(guesses)]
        const child = fork(fileURLToPath(fixture("passwordGuesser.mjs")), args)
        // Whoever guesses has a machine of its own, and takes less of this one.
        setPriority(child.pid ?? 0, 10)
        const [{ open }] = (await once(child, "message")) as [{ readonly open: number }]
        return { child, open }
      }),
      ({ child }) => Effect.sync(() => child.kill())
    ),
    ({ child, open }) => ({
      open,
      guess: async (): Promise<Over> => {
        const over = once(child, "message")
        child.send("go")
        const [result] = (await over) as [Over]
        return result
      }
    })
  )

interface Guesser {
  readonly open: number
  readonly guess: () => Promise<Over>
}

/** How long the application takes to compress during, before and after the guessing. Scrapes go on all the time. */
const attacked = ({ guess, open }: Guesser, scrape: () => Promise<{ readonly status: number }>) =>
  Effect.promise(async () => {
    let going = true
    const scrapes: Array<number> = []
    const scraping = (async () => {
      while (going) {
        scrapes.push((await scrape()).status)
        await sleep(100)
      }
    })()
    const usual: Array<number> = []
    const during: Array<number> = []
    const asUsual = async (): Promise<void> => {
      for (let index = 0; index < 20; index += 1) usual.push(await compressing())
    }
    await asUsual()
    let isOver = false
    const guessing = guess().finally(() => {
      isOver = true
    })
    while (!isOver) during.push(await compressing())
    const over = await guessing
    await asUsual()
    going = false
    await scraping
    return { open, over, during, usual, scrapes }
  })

describe("While 10,000 passwords are guessed", () => {
  for (const kind of serverKinds) {
    itInTime(
      `of a metrics server ${kind.name}, a gzip of the application takes at most twice its usual time, and the correct password is accepted`,
      function* () {
        const users = { scraper: hashOf(password, recommended) }
        // Room for the scrapes beside the guesses.
        const options = { authentication: { users }, maxConnections: 1_100 }
        const { address, url } = yield* started(kind, options, { registry: someMetrics() })
        const scrape = () => ask(url, { headers: basic("scraper", password) })
        assert.strictEqual((yield* Effect.promise(scrape)).status, 200)
        const { during, open, over, scrapes, usual } = yield* Effect.scoped(
          Effect.flatMap(guesser(address.port, 1_000, 10), (guessing) => attacked(guessing, scrape))
        )
        const ratio = median(during) / median(usual)
        console.log(
          `${kind.name}: 10,000 guesses over ${open} connections that were open at once took ${(over.milliseconds / 1e3).toFixed(1)} s, ` +
            `answered ${JSON.stringify(over.answers)}; ${during.length} times gzip meanwhile took ${median(during).toFixed(1)} ms, ` +
            `${ratio.toFixed(2)} times the usual ${median(usual).toFixed(1)} ms, at most ${Math.max(...during).toFixed(0)} ms; ` +
            `${scrapes.length} scrapes, ${scrapes.filter((status) => status !== 200).length} failed`
        )
        assert.strictEqual(open, 1_000)
        assert.hasAllKeys(over.answers, ["401", "429"])
        assert.strictEqual((over.answers["401"] ?? 0) + (over.answers["429"] ?? 0), 10_000)
        assert.deepEqual([...new Set(scrapes)], [200])
        assertInTime(ratio <= 2, `${ratio} times as long`)
      },
      900_000
    )
  }
})

describe("A wrong password and an unknown user", () => {
  for (const kind of serverKinds) {
    itInTime(
      `take a metrics server ${kind.name} the same time`,
      function* () {
        const users = { scraper: hashOf(password, cheap), other: hashOf(password, cheap) }
        const { url } = yield* started(kind, { authentication: { users } })
        const agent = yield* Effect.acquireRelease(
          Effect.sync(() => new Agent({ keepAlive: true, maxSockets: 1 })),
          (made) => Effect.sync(() => made.destroy())
        )
        const times = yield* Effect.promise(async () => {
          const wrong: Array<number> = []
          const unknown: Array<number> = []
          const asking = async (name: string, guess: string): Promise<number> => {
            const { milliseconds, status } = await ask(url, { headers: basic(name, guess), agent })
            assert.strictEqual(status, 401)
            return milliseconds
          }
          await asking("scraper", "warm")
          for (let index = 0; index < tries; index += 1) {
            // Whichever comes first takes its turn.
            const first = index % 2 === 0
            if (first) wrong.push(await asking("scraper", `guess-${index}`))
            unknown.push(await asking("someone", `guess-${index}`))
            if (!first) wrong.push(await asking("scraper", `guess-${index}`))
          }
          return { wrong: median(wrong), unknown: median(unknown) }
        })
        const difference = Math.abs(times.wrong / times.unknown - 1)
        console.log(
          `${kind.name}: over ${tries} tries each, ln=${cheap.ln}, r=${cheap.r}, p=${cheap.p}, a wrong password took ` +
            `${times.wrong.toFixed(3)} ms, an unknown user ${times.unknown.toFixed(3)} ms: ${(100 * difference).toFixed(1)} % apart`
        )
        assertInTime(difference <= 0.05, `${(100 * difference).toFixed(1)} % apart`)
      },
      900_000
    )
  }
})
