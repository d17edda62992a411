/** A real browser, and the traces of its pages. */
import { Effect } from "effect"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"
import { patience } from "./timing.js"

const quiet = [
  ...["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"]
]

/** A headless browser with a new profile, for as long as the scope lasts. */
export const browser = (executablePath: string) =>
  Effect.acquireRelease(
    Effect.promise(() => chromium.launch({ executablePath, args: quiet, headless: true, timeout: patience })),
    (launched) => Effect.promise(() => launched.close())
  )

/** Requests, dialogs and errors of a page. */
export interface Traces {
  readonly requests: Array<string>
  readonly dialogs: Array<string>
  /** What was written to the console as an error or a warning, and what was thrown. */
  readonly errors: Array<string>
}

/** Opens another tab, and records its traces. */
export const tab = (launched: Browser, options: BrowserContextOptions = {}) =>
  Effect.promise(async () => {
    const context = await launched.newContext(options)
    context.setDefaultTimeout(patience)
    const page = await context.newPage()
    const traces: Traces = { requests: [], dialogs: [], errors: [] }
    page.on("request", (request) => traces.requests.push(request.url()))
    page.on("dialog", (dialog) => {
      traces.dialogs.push(dialog.message())
      void dialog.dismiss()
    })
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) traces.errors.push(message.text())
    })
    page.on("pageerror", (error) => traces.errors.push(String(error)))
    return { page, traces }
  })

/** Waits until the page shows the metrics that it has requested. */
export const shown = async (page: Page): Promise<void> => {
  await page.waitForSelector('#state[data-asking="false"]')
}

/** Lets the page request the metrics once more, and waits until it shows them. */
export const refreshed = async (page: Page): Promise<void> => {
  await shown(page)
  await page.click("#refresh")
  await shown(page)
}
