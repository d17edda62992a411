// promises.mjs in CommonJS.
const assert = require("node:assert/strict")
const { startHttpServer, startHttpServerInThread, timed } = require("effect-prometheus/Promises")

const { Histogram } = require(process.env.CLIENT ?? "prom-client")
const seconds = new Histogram({ name: "job_seconds", help: "For the check.", labelNames: ["kind"], buckets: [60] })

const job = timed(seconds, { labels: { kind: "promise" } })(async (index) => {
  if (index === 2) throw new Error("no")
})

const main = async () => {
  await Promise.allSettled([0, 1, 2].map(job))

  for (const start of [startHttpServer, startHttpServerInThread]) {
    const server = await start({ host: "127.0.0.1", port: 0 })
    const response = await fetch(server.url)
    const series = (await response.text()).split("\n").filter((line) => /^job_seconds_(bucket|count)/.test(line))
    assert.equal(response.status, 200)
    assert.deepEqual(series, [
      'job_seconds_bucket{le="60",kind="promise"} 3',
      'job_seconds_bucket{le="+Inf",kind="promise"} 3',
      'job_seconds_count{kind="promise"} 3'
    ])
    await server.close()
    await assert.rejects(fetch(server.url), `${server.url} still answers`)
  }
}

main()
