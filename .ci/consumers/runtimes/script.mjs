// A script that ends by itself, although it closes no server.
import { startHttpServer, startHttpServerInThread } from "effect-prometheus/Promises"

const options = { host: "127.0.0.1", log: false, unref: true }
for (const start of [startHttpServer, startHttpServerInThread]) {
  const { url } = await start(options)
  const { status } = await fetch(url)
  if (status !== 200) throw new Error(`${url} answered ${status}`)
}
