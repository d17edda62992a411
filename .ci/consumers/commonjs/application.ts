// An application of NestJS on Express, as its command line creates them: CommonJS, `experimentalDecorators`.
import "reflect-metadata"
import { Controller, Get, type MiddlewareConsumer, Module, type NestModule, Param, Res } from "@nestjs/common"
import { NestFactory } from "@nestjs/core"
import { expressRoute, httpMetrics, nodeListener, startHttpServerInThread, timed } from "effect-prometheus/Promises"
import type { NextFunction, Request, Response } from "express"
import { Histogram } from "prom-client"

const seconds = new Histogram({ name: "lookup_seconds", help: "Time of a lookup, in seconds.", labelNames: ["kind"] })
const serve = nodeListener()

@Controller()
class Users {
  @Get("/users/:id")
  @timed(seconds, { labels: { kind: "user" } })
  async user(@Param("id") id: string): Promise<string> {
    return `user ${id}`
  }

  @Get("/metrics")
  metrics(@Res() response: Response): void {
    serve(response.req, response)
  }
}

const measure = httpMetrics()

@Module({ controllers: [Users] })
export class Application implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer
      .apply((request: Request, response: Response, next: NextFunction) => {
        measure(request, response, expressRoute(request))
        next()
      })
      .forRoutes("*path")
  }
}

export const main = async (): Promise<void> => {
  const application = await NestFactory.create(Application, { logger: false })
  await application.listen(0, "127.0.0.1")
  const metrics = await startHttpServerInThread({ host: "127.0.0.1", grace: "5 seconds" })
  const url = await application.getUrl()
  for (const path of ["/users/7", "/users/8", "/nowhere"]) await fetch(url + path)
  const body = await (await fetch(metrics.url)).text()
  for (const line of [
    'lookup_seconds_count{kind="user"} 2',
    'http_server_requests_total{method="GET",route="/users/:id",status="200"} 2',
    'http_server_requests_total{method="GET",route="unmatched",status="404"} 1'
  ]) {
    if (!body.includes(`${line}\n`)) throw new Error(`${line} is missing in\n${body}`)
  }
  await metrics.close()
  await application.close()
  console.log("NestJS: measured, served from the worker and scraped")
}

if (require.main === module) void main()
