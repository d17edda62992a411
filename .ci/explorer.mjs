// Makes the explorer's page, as texts in a module, of what stands in src/internal/explorer.
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { buildSync } from "esbuild"

const folder = new URL("../src/internal/explorer/", import.meta.url)

const built = (name) => {
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL(name, folder))],
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    platform: "browser",
    target: ["chrome123", "firefox120", "safari17.5"],
    logLevel: "warning"
  })
  const [{ text }] = outputFiles
  if (/<\/(script|style)/i.test(text)) throw new Error(`${name} would end its own element`)
  return text
}

const texts = {
  page: readFileSync(new URL("page.html", folder), "utf8"),
  script: built("page.ts"),
  style: built("style.css")
}
const lines = Object.entries(texts).map(([name, text]) => `export const ${name} = ${JSON.stringify(text)}\n`)
writeFileSync(new URL("built.js", folder), lines.join(""))
