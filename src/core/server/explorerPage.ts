/** The explorer as one HTML document, and the headers that isolate it. */
import { createHash } from "node:crypto"
import { page, script, style } from "../../explorer/built.js"

/** The same for every request. */
export const explorerPage = (path: string) => {
  const parts: Readonly<Record<string, string>> = {
    script: `<script>${script}</script>`,
    style: `<style>${style}</style>`,
    // Relative to the page, so that both can be below the path of a proxy.
    metrics: escaped(`.${path}`)
  }
  const document = page.replace(
    /<!--\{\{(style|script)\}\}-->|\{\{(metrics)\}\}/g,
    (_, element?: string, text?: string) => parts[element ?? text ?? ""] ?? ""
  )
  return { headers, body: new TextEncoder().encode(document) }
}

const hash = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

// Whatever a label contains: no other script, no other hosts, no markup made from texts. The icon is in the document.
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
]

const headers = {
  "content-type": "text/html; charset=utf-8",
  "content-security-policy": policy.join("; "),
  "referrer-policy": "no-referrer"
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;"
}

const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => entities[character] ?? "")
