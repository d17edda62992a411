// An application of NestJS on Express, as its command line creates them: CommonJS, `experimentalDecorators`.
import "reflect-metadata"
import { Module } from "@nestjs/common"
import { NestFactory } from "@nestjs/core"
import { startHttpServerInThread } from "effect-prometheus/Promises"
import { MetricsModule } from "./metrics.module"
import { UsersController } from "./users.controller"

@Module({ imports: [MetricsModule], controllers: [UsersController] })
export class Application {}

const main = async (): Promise<void> => {
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
