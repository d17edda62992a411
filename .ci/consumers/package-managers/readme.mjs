// Writes the program of the README's start with Effect as checkout.mjs, with free ports, and a request at its end that
// checks what it counts: `node readme.mjs <README.md>`.
import { readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"

const [, section] = readFileSync(process.argv[2], "utf8").split("## Start with Effect")
const [, code] = /```ts\n(.*?)```/s.exec(section)

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
const [application, metrics] = await Promise.all([freePort(), freePort()])

const request = `
const answer = async (url) => {
  for (;;) {
    try {
      return await (await fetch(url)).text()
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
await answer("http://127.0.0.1:${application}/checkout")
const body = await answer("http://127.0.0.1:${metrics}/metrics")
if (!body.includes("\\ncheckout_seconds_count 1\\n")) throw new Error(body)
process.kill(process.pid, "SIGTERM")
`
writeFileSync("checkout.mjs", code.replace("3000", application).replace("9464", metrics) + request)
