import { timed } from "effect-prometheus/Promises"
import { items, seconds } from "../../metrics"

export const dynamic = "force-dynamic"

export const GET = timed(seconds, { labels: { kind: "route" } })(async () => {
  items.inc({ kind: "route" }, 2)
  return Response.json({ done: 2 })
})
