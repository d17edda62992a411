import type { AddressInfo } from "node:net"
import { type HttpBindings, serve } from "@hono/node-server"
import { honoMetrics, httpMetrics } from "effect-prometheus/Promises"
import { Hono } from "hono"
import { matchedRoutes, routePath } from "hono/route"
import { host } from "../../load.js"
import { handMetrics } from "../byHand.js"
import type { Contenders, Start } from "../contender.js"
import { patterns } from "../exchanges.js"
import { measureByHand } from "./node.js"

type Application = Hono<{ Bindings: HttpBindings }>

const server =
  (measure: (application: Application) => void): Start =>
  async (size) => {
    const application: Application = new Hono()
    measure(application)
    for (const pattern of patterns(size)) {
      application.all(pattern, (context) => context.text("ok", Number(context.req.param("status")) as 200))
    }
    const port = await new Promise<number>((resolve) => {
      serve({ fetch: application.fetch, hostname: host, port: 0 }, (address: AddressInfo) => resolve(address.port))
    })
    return { port }
  }

export const hono: Contenders = {
  bare: server(() => {}),
  byHand: server((application) => {
    const metrics = handMetrics()
    application.use(async (context, next) => {
      measureByHand(metrics, context.env.incoming, context.env.outgoing as never, () => routePath(context, -1))
      await next()
    })
  }),
  ours: server((application) => {
    application.use(honoMetrics(httpMetrics({ sizes: true }), matchedRoutes))
  })
}
