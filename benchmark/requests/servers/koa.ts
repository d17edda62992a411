import { Router } from "@koa/router"
import { httpMetrics, koaRoute } from "effect-prometheus/Promises"
import Koa from "koa"
import { handMetrics } from "../byHand.js"
import type { Contenders, Start } from "../contender.js"
import { patterns } from "../exchanges.js"
import { listening, measureByHand } from "./node.js"

const server =
  (measure: (application: Koa) => void): Start =>
  (size) => {
    const application = new Koa()
    measure(application)
    const router = new Router()
    for (const pattern of patterns(size)) {
      router.all(pattern, (context) => {
        context.status = Number(context["params"]["status"])
        context.body = "ok"
      })
    }
    application.use(router.routes())
    return listening(application.callback())
  }

export const koa: Contenders = {
  bare: server(() => {}),
  byHand: server((application) => {
    const metrics = handMetrics()
    application.use((context, next) => {
      measureByHand(metrics, context.req, context.res, () => String(context["_matchedRoute"]))
      return next()
    })
  }),
  ours: server((application) => {
    const measure = httpMetrics({ sizes: true })
    application.use((context, next) => {
      measure(context.req, context.res, koaRoute(context))
      return next()
    })
  })
}
