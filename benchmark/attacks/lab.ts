/** The processes of an attack: the victim, which serves, and the attackers. */
import { type ChildProcess, fork } from "node:child_process"
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { ServerOptions } from "effect-prometheus/Promises"
import type { Reading } from "./results.js"

/** Where the server runs. */
export type Place = "in process" | "in the thread"
export const places: ReadonlyArray<Place> = ["in process", "in the thread"]

export interface Attack {
  readonly id: string
  readonly title: string
  /** The places where it runs. Default: all. */
  readonly only?: ReadonlyArray<Place>
  readonly run: (place: Place) => Promise<ReadonlyArray<Reading>>
}

export const token = "0123456789abcdef0123"
export const user = "scraper"
export const password = "correct horse battery staple"

export type RegistryKind = "small" | "100,000-series" | "200-collectors" | "family-of-100,000" | "family-of-500,000"

/** The registry and the options of a victim. */
export interface Setup {
  readonly place: Place
  readonly registry: RegistryKind
  readonly options: Pick<ServerOptions, "authentication" | "tls">
}

/**
 * `look`: starts to measure turns; `turn`: returns the longest turn since then, in milliseconds of CPU time; `cpu`: returns
 * the CPU time of the main thread so far; `collect`: collects the garbage of this thread; `stuck`: blocks the thread for
 * that many milliseconds, and returns by how many milliseconds the next timers are late.
 */
export type Order = "look" | "turn" | "cpu" | "collect" | { readonly stuck: number }
export type Answer<O extends Order> = O extends "look" | "collect" ? null : number

/** A process that serves. */
export interface Victim {
  readonly url: string
  readonly port: number
  readonly order: <O extends Order>(order: O) => Promise<Answer<O>>
  /** Its memory now, in MiB. */
  readonly memory: () => number
  /** Starts to watch the memory; the returned function returns the maximum since then. */
  readonly watchMemory: () => () => number
}

// Without an answer in this time the attack fails.
const patience = 60_000

const messageOf = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const settled = (settle: () => void) => {
      clearTimeout(late)
      child.off("message", said).off("exit", ended)
      settle()
    }
    const said = (message: unknown) => settled(() => resolve(message))
    const ended = () => settled(() => reject(new Error("a process of the attack ended before it answered")))
    const late = setTimeout(() => settled(() => reject(new Error("a process does not answer"))), patience)
    child.once("message", said).once("exit", ended)
  })

const started = (file: string, args: ReadonlyArray<string>, execArgv: ReadonlyArray<string>): ChildProcess =>
  fork(fileURLToPath(new URL(file, import.meta.url)), args, {
    execArgv: [...execArgv],
    stdio: ["ignore", 2, 2, "ipc"]
  })

const ended = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once("exit", resolve))
  child.kill("SIGKILL")
  await gone
}

/** Runs `use` with a server in a separate process. */
export const withVictim = async <A>(setup: Setup, use: (victim: Victim) => Promise<A>): Promise<A> => {
  const child = started("../fresh/victim.mjs", [JSON.stringify(setup)], ["--expose-gc"])
  try {
    const { url } = (await messageOf(child)) as { readonly url: string }
    const memory = () => {
      const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? []
      return Number(kilobytes) / 1_024
    }
    return await use({
      url,
      port: Number(new URL(url).port),
      order: async (order) => {
        child.send(order)
        return (await messageOf(child)) as Answer<typeof order>
      },
      memory,
      watchMemory: () => {
        let most = memory()
        const look = () => {
          most = Math.max(most, memory())
        }
        const timer = setInterval(look, 20)
        return () => {
          clearInterval(timer)
          look()
          return most
        }
      }
    })
  } finally {
    await ended(child)
  }
}

/** The behaviour of unauthorized clients: see the test fixture `strangers.mjs`. */
export interface Flood {
  readonly behaviour: string
  readonly count?: number
  readonly secured?: boolean
}

/** Runs `use` during a flood, after all `count` connections of it have been open. */
export const withStrangers = async <A>(
  { port }: Victim,
  { behaviour, count = 1_000, secured = false }: Flood,
  use: () => Promise<A>
): Promise<A> => {
  const args = [String(port), secured ? "https" : "http", String(count), behaviour]
  const child = started("../../test/fixtures/unauthenticatedClients.mjs", args, [])
  try {
    await messageOf(child)
    return await use()
  } finally {
    await ended(child)
  }
}

/** Sends `count` scrapes at once from a separate process. Returns the longest turn until all are answered. */
export const askedBy = async (count: number, kind: string, { url, order }: Victim): Promise<Answer<"turn">> => {
  const child = started("../fresh/askers.ts", [url, String(count), kind], ["--import", "tsx"])
  try {
    await messageOf(child)
    await order("look")
    child.send("ask")
    const { answered } = (await messageOf(child)) as { readonly answered: number }
    if (answered !== count) throw new Error(`${answered} of ${count} scrapes were answered`)
    return await order("turn")
  } finally {
    await ended(child)
  }
}

/** Collects the garbage of the start. */
export const settled = async ({ order }: Victim): Promise<void> => {
  for (let count = 0; count < 3; count += 1) {
    await order("collect")
    await sleep(50)
  }
}
