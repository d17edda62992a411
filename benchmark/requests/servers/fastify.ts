import { httpMetrics } from "effect-prometheus/Promises"
import Fastify, { type FastifyInstance } from "fastify"
import fastifyMetrics from "fastify-metrics"
import { host } from "../../load.js"
import type { Contenders, Start } from "../contender.js"
import { patterns } from "../exchanges.js"

const server =
  (measure: (application: FastifyInstance) => unknown): Start =>
  async (size) => {
    const application = Fastify()
    await measure(application)
    for (const url of patterns(size)) {
      application.all<{ Params: { readonly status: string } }>(url, async (request, reply) => {
        reply.code(Number(request.params.status))
        return "ok"
      })
    }
    const address = await application.listen({ host, port: 0 })
    return { port: Number(new URL(address).port) }
  }

export const fastify: Contenders = {
  bare: server(() => {}),
  fastifyMetrics: server((application) =>
    application.register(fastifyMetrics.default, {
      endpoint: null,
      defaultMetrics: { enabled: false },
      // It takes a route of several methods for one that is not registered.
      routeMetrics: { registeredRoutesOnly: false }
    })
  ),
  ours: server((application) => {
    const measure = httpMetrics({ sizes: true })
    application.addHook("onRequest", async (request, reply) => {
      measure(request.raw, reply.raw, () => request.routeOptions.url)
    })
  })
}
