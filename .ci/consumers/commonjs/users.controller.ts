import { Controller, Get, Param } from "@nestjs/common"
import { timed } from "effect-prometheus/Promises"
import { Histogram } from "prom-client"

const seconds = new Histogram({ name: "lookup_seconds", help: "Time of a lookup, in seconds.", labelNames: ["kind"] })

@Controller("users")
export class UsersController {
  @Get(":id")
  @timed(seconds, { labels: { kind: "user" } })
  async user(@Param("id") id: string): Promise<string> {
    return `user ${id}`
  }
}
