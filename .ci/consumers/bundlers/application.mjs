// Measures, serves in this thread and in a worker thread, and scrapes itself.
import { startHttpServer, startHttpServerInThread, timed } from "effect-prometheus/Promises"
import { Histogram } from "prom-client"

const seconds = new Histogram({ name: "job_seconds", help: "Jobs." })

const main = async () => {
  await timed(seconds)(async () => "done")()
  for (const start of [startHttpServer, startHttpServerInThread]) {
    const server = await start({ host: "127.0.0.1", log: false })
    const body = await (await fetch(server.url)).text()
    const page = await (await fetch(server.healthUrl, { headers: { accept: "text/html" } })).text()
    await server.close()
    if (!body.includes("job_seconds_count 1\n")) throw new Error(body)
    if (!page.includes("<script")) throw new Error("the page for people is missing")
  }
  console.log("measured, served from both threads and scraped")
}

main()
