/**
 * What measuring adds to an HTTP request: the CPU time and the allocated bytes of the server's own process. Each contender
 * is nine processes, one after the other; the contenders take turns of 3,000 requests, over eight connections from another
 * process. A server without metrics is subtracted from each, and the ratio is that of the medians. The web handler of
 * `@effect/platform` has no socket: its process creates each request that it answers.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { Cost, Order } from "../fresh/server.js"
import { type Bar, type Comparison, compare, type Row } from "../report.js"
import { exchanges, large, ordinary, sender } from "../requests/exchanges.js"
import type { ServerName } from "../requests/servers/index.js"
import { alternate, type Measure, mapRounds, namesOf, type Rounds } from "../rounds.js"

const requests = 3_000
const rounds = 3
// The same code is compiled differently from process to process, which differs more than the rounds of one of them.
const processes = 9

interface Peer {
  readonly name: string
  readonly ours?: string
  readonly bar: number
  readonly bytes?: number
}

interface Asked {
  readonly title: string
  readonly peers: { readonly [contender: string]: Peer }
}

const byHand: Peer = { name: "by hand", bar: 1.1, bytes: 1.5 }

const asked: { readonly [Name in ServerName]: Asked } = {
  effect: {
    title: "Effect",
    peers: {
      byHand: { ...byHand, bar: 1.5 },
      byHandTwo: { name: "two by hand", ours: "oursTwo", bar: 1.2 }
    }
  },
  web: { title: "Effect, web handler", peers: { byHand: { ...byHand, bar: 1.5 } } },
  express: {
    title: "Express 5",
    peers: { promBundle: { name: "express-prom-bundle", bar: 1 }, promster: { name: "promster", bar: 1 } }
  },
  fastify: { title: "Fastify 5", peers: { fastifyMetrics: { name: "fastify-metrics", bar: 0.8 } } },
  koa: { title: "Koa", peers: { byHand } },
  hono: { title: "Hono", peers: { byHand } },
  node: { title: "node:http", peers: { byHand } }
}

type SizeName = "ordinary" | "large"

const contending = async (server: ServerName, contender: string, size: SizeName) => {
  const child = fork(fileURLToPath(new URL("../fresh/server.ts", import.meta.url)), [server, contender, size], {
    execArgv: ["--import", "tsx"],
    env: { ...process.env, NODE_ENV: "production" },
    stdio: ["ignore", 2, 2, "ipc"]
  })
  child.setMaxListeners(0)
  const { port } = (await heard(child)) as { readonly port?: number }
  const order = async (what: Order) => {
    child.send(what)
    return heard(child)
  }
  const send = port === undefined ? undefined : sender(port, exchanges(size === "large" ? large : ordinary))
  const measure: Measure<Cost> = async () => {
    if (send === undefined) return (await order({ answer: requests })) as Cost
    await order("begin")
    await send(requests)
    return (await order("end")) as Cost
  }
  return { measure, stop: () => child.disconnect() }
}

const heard = async (child: ChildProcess): Promise<unknown> => {
  const failed = once(child, "exit").then(([code]) => {
    throw new Error(`a server ended with ${code}`)
  })
  failed.catch(() => {})
  const [message] = await Promise.race([once(child, "message"), failed])
  return message
}

const costs = async (server: ServerName, size: SizeName): Promise<Record<string, Rounds<Cost>>> => {
  const peers = namesOf(asked[server].peers)
  const ours = new Set(["ours", ...peers.flatMap((peer) => asked[server].peers[peer]?.ours ?? [])])
  const names = ["bare", ...peers, ...ours]
  const found: Record<string, Rounds<Cost>> = {}
  for (let process = 0; process < processes; process += 1) {
    const running = new Map<string, Awaited<ReturnType<typeof contending>>>()
    for (const name of names) running.set(name, await contending(server, name, size))
    const measures = Object.fromEntries([...running].map(([name, { measure }]) => [name, measure]))
    // The warm-up compiles the code, and creates all series.
    const some = await alternate(measures, { rounds, warmup: 5 })
    for (const { stop } of running.values()) stop()
    for (const [name, all] of Object.entries(some)) found[name] = [...(found[name] ?? []), ...all]
  }
  return found
}

const measured = (name: string, all: Rounds<Cost> | undefined, what: keyof Cost) => ({
  name,
  unit: what === "cpu" ? ("µs" as const) : ("bytes" as const),
  rounds: mapRounds(all ?? [], (cost) => cost[what] / requests)
})

const compared = (server: ServerName, found: Record<string, Rounds<Cost>>, size: string): Array<Comparison> =>
  namesOf(asked[server].peers).flatMap((contender) => {
    const { name, bar, bytes, ours = "ours" } = asked[server].peers[contender] as Peer
    const one = (what: keyof Cost, atMost: number) =>
      compare(measured("ours", found[ours], what), measured(name, found[contender], what), {
        what: `${asked[server].title}${size}`,
        without: measured("bare", found["bare"], what).rounds,
        ofMedians: true,
        bar: { atMost } satisfies Bar
      })
    return [one("cpu", bar), ...(bytes === undefined ? [] : [one("bytes", bytes)])]
  })

const row = (server: ServerName): Row => ({
  id: `http-requests/${server}`,
  title: `what measuring adds to a request: ${asked[server].title}`,
  run: async () => {
    const few = await costs(server, "ordinary")
    const many = await costs(server, "large")
    const overhead = (found: typeof few) => {
      const bare = measured("bare", found["bare"], "cpu").rounds
      return measured("ours", found["ours"], "cpu").rounds.map((value, round) =>
        value === undefined ? undefined : value - (bare[round] ?? 0)
      )
    }
    return {
      comparisons: [
        ...compared(server, few, ""),
        ...compared(server, many, ", 10,000 series"),
        compare(
          { name: "10,000 series", unit: "µs", rounds: overhead(many) },
          { name: "20 series", unit: "µs", rounds: overhead(few) },
          { what: `${asked[server].title}, 100 routes`, ofMedians: true, bar: { atMost: 1.1 } }
        )
      ]
    }
  }
})

export const httpRequests: ReadonlyArray<Row> = namesOf(asked).map(row)
