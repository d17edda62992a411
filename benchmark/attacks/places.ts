/**
 * Honest scrapes during a flood of 1,000 connections: how many of 30 are answered, each on a new connection, and the time
 * of the slowest. It also reports the longest turn of the main thread's event loop in CPU time, and how much the memory of
 * the process grows during the flood. Half of the honest scrapes have a token, and half a password that was verified
 * before; over TLS all have a client certificate, which the server requires.
 */
import { request } from "node:http"
import { request as secureRequest } from "node:https"
import { setTimeout as sleep } from "node:timers/promises"
import { Effect } from "effect"
import { hashPassword } from "effect-prometheus/Promises"
import { authority, selfSigned } from "../../test/support/certificates.js"
import { basic, bearer } from "../../test/support/credentials.js"
import type { Attack, Flood, Place, Setup } from "./lab.js"
import { password, settled, token, user, withStrangers, withVictim } from "./lab.js"
import type { Reading } from "./results.js"

interface Client {
  readonly headers?: Readonly<Record<string, string>>
  readonly ca?: string
  readonly key?: string
  readonly cert?: string
}

const scrapes = 30
const patience = 10_000

/** The status and the time of the response in milliseconds. Rejects if the connection was closed. */
const scrape = (url: string, client: Client): Promise<{ readonly status: number; readonly time: number }> =>
  new Promise((resolve, reject) => {
    const start = performance.now()
    const ask = url.startsWith("https:") ? secureRequest : request
    const asking = ask(url, { ...client, agent: false, timeout: patience }, (response) => {
      response.on("error", reject).resume()
      response.on("end", () => resolve({ status: response.statusCode ?? 0, time: performance.now() - start }))
    })
    asking.on("timeout", () => asking.destroy(new Error("no answer"))).on("error", reject)
    asking.end()
  })

const honestScrapes = async (url: string, clients: ReadonlyArray<Client>): Promise<ReadonlyArray<Reading>> => {
  let [answered, slowest] = [0, 0]
  for (let index = 0; index < scrapes; index += 1) {
    const { status, time } = await scrape(url, clients[index % clients.length] ?? {}).catch(() => ({
      status: 0,
      time: patience
    }))
    if (status === 200) answered += 1
    slowest = Math.max(slowest, time)
    await sleep(30)
  }
  return [
    { what: "honest scrapes answered", value: answered, unit: "of 30" },
    { what: "the slowest of them", value: slowest, unit: "ms" }
  ]
}

const flooded = (setup: Setup, flood: Flood, clients: ReadonlyArray<Client>) =>
  withVictim(setup, async (victim): Promise<ReadonlyArray<Reading>> => {
    // The server caches the password after the first verification.
    for (const client of clients) {
      const { status } = await scrape(victim.url, client)
      if (status !== 200) throw new Error(`an honest scrape before the attack got ${status}`)
    }
    await settled(victim)
    const before = victim.memory()
    const most = victim.watchMemory()
    await victim.order("look")
    return withStrangers(victim, flood, async () => [
      ...(await honestScrapes(victim.url, clients)),
      { what: "longest turn of the main thread", value: await victim.order("turn"), unit: "ms" },
      { what: "memory at most", value: most() - before, unit: "MiB" }
    ])
  })

const floods = [
  ["wrong-passwords", "guesses", "wrong passwords"],
  ["wrong-tokens", "tokens", "wrong tokens"],
  ["silent", "nothing", "silence"],
  ["reconnecting", "reconnects", "a request and a new connection, repeatedly"]
] as const

export const byCredentials: ReadonlyArray<Attack> = floods.map(([id, behaviour, what]) => ({
  id: `places-${id}`,
  title: `1,000 connections: ${what}; scrapes with a token and with a verified password`,
  run: async (place: Place) => {
    const authentication = { tokens: [token], users: { [user]: await hashPassword(password) } }
    const setup: Setup = { place, registry: "small", options: { authentication } }
    return flooded(setup, { behaviour }, [{ headers: bearer(token) }, { headers: basic(user, password) }])
  }
}))

export const byCertificate: ReadonlyArray<Attack> = floods
  .filter(([id]) => id === "silent" || id === "reconnecting")
  .map(([id, behaviour, what]) => ({
    id: `places-tls-${id}`,
    title: `1,000 connections with TLS: ${what}; scrapes with a client certificate`,
    run: async (place: Place) => {
      const own = await selfSigned()
      const trusted = await Effect.runPromise(authority())
      const client = await Effect.runPromise(trusted.issue())
      const setup: Setup = { place, registry: "small", options: { tls: { ...own, ca: trusted.cert } } }
      return flooded(setup, { behaviour, secured: true }, [{ ...client, ca: own.cert }])
    }
  }))
