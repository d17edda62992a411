/** On each message, scrapes the URL given as the argument, with gzip, and sends the first sample. */
import { get } from "node:http"
import { buffer } from "node:stream/consumers"
import { gunzipSync } from "node:zlib"

process.on("message", () => {
  get(process.argv[2] ?? "", { headers: { "accept-encoding": "gzip" } }, async (response) => {
    const text = gunzipSync(await buffer(response)).toString()
    process.send?.(/^[^#].*$/m.exec(text)?.[0])
  })
})
process.on("disconnect", () => process.exit())
