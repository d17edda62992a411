import { Controller, Get, type MiddlewareConsumer, Module, type NestModule, Res } from "@nestjs/common"
import { expressRoute, httpMetrics, nodeListener } from "effect-prometheus/Promises"
import type { NextFunction, Request, Response } from "express"

const measure = httpMetrics()
const serve = nodeListener()

@Controller()
class MetricsController {
  @Get("/metrics")
  metrics(@Res() response: Response): void {
    serve(response.req, response)
  }
}

@Module({ controllers: [MetricsController] })
export class MetricsModule implements NestModule {
  configure(consumer: MiddlewareConsumer): void {
    consumer
      .apply((request: Request, response: Response, next: NextFunction) => {
        measure(request, response, expressRoute(request))
        next()
      })
      .forRoutes("*path")
  }
}
