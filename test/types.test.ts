import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

for (const { client, config } of [
  { client: "prom-client 15", config: "tstyche.config.json" },
  { client: "@prometheus-io/client", config: "tstyche.newer.config.json" }
]) {
  it(`what must compile over ${client} compiles, and what must not is rejected with the message that helps`, async () => {
    const { failed, output } = await new Promise<{ readonly failed: boolean; readonly output: string }>((resolve) => {
      execFile(
        process.execPath,
        ["node_modules/tstyche/build/bin.js", "--config", `test/types/${config}`],
        { cwd: root, env: { ...process.env, TSTYCHE_NO_COLOR: "true", TSTYCHE_NO_INTERACTIVE: "true" } },
        (error, stdout, stderr) => resolve({ failed: error !== null, output: stdout + stderr })
      )
    })
    assert.isFalse(failed, output)
    assert.match(output, /Assertions: +\d+ passed/)
  }, 120_000)
}
