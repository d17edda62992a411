const { Metrics } = require("effect-prometheus")
const { startHttpServerInThread, timed } = require("effect-prometheus/Promises")
const { Effect } = require("effect")
const { Histogram, Registry } = require("prom-client")

const registry = new Registry()
const seconds = new Histogram({ name: "job_seconds", help: "Jobs.", labelNames: ["kind"], registers: [registry] })

const main = async () => {
  const server = await startHttpServerInThread({ host: "127.0.0.1", registry })
  await timed(seconds, { labels: { kind: "promise" } })(async () => "done")()
  await Effect.runPromise(Effect.sleep("1 millis").pipe(Metrics.timed(seconds, { labels: { kind: "effect" } })))
  let body = ""
  const isComplete = () => ["effect", "promise"].every((kind) => body.includes(`job_seconds_count{kind="${kind}"} 1`))
  // If this thread is too busy to answer at once, the worker serves its last exposition.
  for (let time = 0; time < 100 && !isComplete(); time += 1) body = await (await fetch(server.url)).text()
  if (!isComplete()) throw new Error(body)
  await server.close()
  console.log("CommonJS: measured, served from the worker and scraped")
}

main()
