/**
 * Scrapes per second of an HTTP server with the 1,000 series of an ordinary service: `startHttpServer` against a plain
 * `node:http` server that sends `registry.metrics()`, and against one that always sends the same bytes. autocannon sends
 * the requests from a separate process, without gzip, over keep-alive connections. Meanwhile a few values change every two
 * milliseconds.
 */
import { startHttpServer } from "effect-prometheus/Promises"
import * as promClient from "prom-client"
import { host, perSecond, plainServer } from "../load.js"
import * as Data from "../registries.js"
import { type Bar, compare, type Row } from "../report.js"
import { alternate } from "../rounds.js"

const overHttp = (id: string, connections: number, bar: Bar, fixedBar?: Bar): Row => ({
  id,
  title: `scrapes of the 1,000 mixed series over HTTP, ${connections} connections`,
  run: async () => {
    const mine = Data.promRegistry(promClient, Data.ordinary)
    const theirs = Data.promRegistry(promClient, Data.ordinary)
    const changing = setInterval(() => {
      mine.changeSome()
      theirs.changeSome()
    }, 2)
    const server = await startHttpServer({ host, registry: mine.registry, log: false })
    const plain = await plainServer(async (_request, response) => {
      const text = await theirs.registry.metrics()
      response.setHeader("content-type", theirs.registry.contentType)
      response.end(text)
    })
    const body = Buffer.from(await (await fetch(server.url)).arrayBuffer())
    const fixed = await plainServer((_request, response) => {
      response.setHeader("content-type", theirs.registry.contentType)
      response.end(body)
    })

    const rates = await alternate(
      {
        ours: () => perSecond(server.url, connections),
        plain: () => perSecond(plain.url, connections),
        fixed: () => perSecond(fixed.url, connections)
      },
      { rounds: 5 }
    )
    clearInterval(changing)
    await server.close()
    plain.close()
    fixed.close()

    const ours = { name: "ours", unit: "scrapes/s", rounds: rates.ours } as const
    return {
      comparisons: [
        compare(ours, { name: "node:http, prom-client", unit: "scrapes/s", rounds: rates.plain }, { bar }),
        compare(ours, { name: "node:http, fixed bytes", unit: "scrapes/s", rounds: rates.fixed }, { bar: fixedBar })
      ]
    }
  }
})

export const http1 = overHttp("http-1", 1, { atLeast: 3 })
export const http32 = overHttp("http-32", 32, { atLeast: 9 }, { atLeast: 0.5 })
