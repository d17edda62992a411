// Builds the explorer page from src/explorer, as a module of texts.
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { buildSync } from "esbuild"

const folder = new URL("../src/explorer/", import.meta.url)

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
  if (/<\/(script|style)/i.test(text)) throw new Error(`${name} contains a closing tag that would end its own element`)
  return text
}

const texts = {
  page: readFileSync(new URL("page.html", folder), "utf8"),
  script: built("page.ts"),
  style: built("style.css")
}
const lines = Object.entries(texts).map(([name, text]) => `export const ${name} = ${JSON.stringify(text)}\n`)
writeFileSync(new URL("built.js", folder), lines.join(""))
