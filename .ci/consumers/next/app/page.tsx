import { timed } from "effect-prometheus/Promises"
import { items, seconds } from "../metrics"

// Measured at each request, and not once in the build.
export const dynamic = "force-dynamic"

const load = timed(seconds, { labels: { kind: "page" } })(async () => {
  items.inc({ kind: "page" })
  return "a page"
})

const Page = async () => <p>{await load()}</p>

export default Page
