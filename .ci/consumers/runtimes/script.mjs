// A script that ends by itself, although it closes no server.
import { startHttpServer, startHttpServerInThread } from "effect-prometheus/Promises"

const options = { host: "127.0.0.1", log: false, unref: true }
// The files are checked for changes as long as the server is open.
const tls = { key: "server.key.pem", cert: "server.cert.pem", reloadInterval: "100 millis" }
for (const start of [startHttpServer, startHttpServerInThread]) {
  const { url } = await start(options)
  const { status } = await fetch(url)
  if (status !== 200) throw new Error(`${url} answered ${status}`)
  await start({ ...options, tls })
}
