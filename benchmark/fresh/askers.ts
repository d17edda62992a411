/** On a message of its parent, sends many different scrapes at once, and reports how many were answered. */
import { request } from "node:http"

const [url = "", count = "1", kind = "same"] = process.argv.slice(2)
const openmetrics = "application/openmetrics-text; version=1.0.0"

const path = (index: number): string => {
  if (kind !== "names") return ""
  // Different families for each scrape, and one unknown name.
  const names = Array.from({ length: 10 }, (_, family) => family).filter((family) => (index >> (family % 6)) % 2 === 0)
  return `?${names.map((family) => `name[]=family_${family}_total&`).join("")}name[]=unknown_${index}`
}

const headers = (index: number): Record<string, string> => {
  switch (kind) {
    case "timeouts":
      return { "accept-encoding": "gzip", "x-prometheus-scrape-timeout-seconds": String(20 + index / 10) }
    case "formats":
      return {
        ...(index % 2 === 0 ? { accept: openmetrics } : {}),
        ...(index % 3 === 0 ? { "accept-encoding": "gzip" } : {})
      }
    default:
      return { "accept-encoding": "gzip" }
  }
}

const scrape = (index: number): Promise<number> =>
  new Promise((resolve) => {
    const method = kind === "formats" && index % 5 === 0 ? "HEAD" : "GET"
    const asking = request(url + path(index), { agent: false, method, headers: headers(index) }, (response) => {
      response.resume()
      response.on("end", () => resolve(response.statusCode ?? 0)).on("error", () => resolve(0))
    })
    asking.on("error", () => resolve(0)).end()
  })

process.on("message", async () => {
  const statuses = await Promise.all(Array.from({ length: Number(count) }, (_, index) => scrape(index)))
  process.send?.({ answered: statuses.filter((status) => status === 200).length })
})
process.on("disconnect", () => process.exit())
process.send?.({ ready: true })
