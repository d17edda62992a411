import promster from "@promster/express"
import { expressRoute, httpMetrics } from "effect-prometheus/Promises"
import express, { type Express } from "express"
import promBundle from "express-prom-bundle"
import type { Contenders, Start } from "../contender.js"
import { patterns } from "../exchanges.js"
import { listening } from "./node.js"

const server =
  (measure: (application: Express) => void): Start =>
  (size) => {
    const application = express()
    measure(application)
    for (const pattern of patterns(size)) {
      application.all(pattern, (request, response) => {
        response.status(Number(request.params["status"])).type("text/plain").send("ok")
      })
    }
    return listening(application)
  }

export const expressServers: Contenders = {
  bare: server(() => {}),
  promBundle: server((application) => {
    application.use(promBundle({ includeMethod: true, includePath: true, includeUp: false }))
  }),
  promster: server((application) => {
    application.use(promster.createMiddleware({ app: application }))
  }),
  ours: server((application) => {
    const measure = httpMetrics({ sizes: true })
    application.use((request, response, next) => {
      measure(request, response, expressRoute(request))
      next()
    })
  })
}
