/** The explorer in a browser: queries of its page. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Browser, Page } from "playwright-core"
import type * as PromClient from "prom-client"
import { shown, tab } from "./browser.js"

/** The texts of all elements of the page that fit. */
export const texts = (page: Page, selector: string): Promise<ReadonlyArray<string>> =>
  page.locator(selector).evaluateAll((nodes) => nodes.map(({ textContent }) => textContent ?? ""))

/** The heading of a family. */
export const head = (page: Page, name: string) =>
  page.locator(".head", { has: page.locator(`.name bdi:text-is("${name}")`) })

/** The fragment under which all of these are open. */
export const open = (...names: ReadonlyArray<string>): string => `#open=${names.join(",")}`

/** Opens the explorer in a new tab, and records violations of its policy. */
export const opened = (launched: Browser, url: string, options?: Parameters<typeof tab>[1]) =>
  Effect.tap(tab(launched, options), ({ page }) =>
    Effect.promise(async () => {
      // Before anything of the page: violations are reported here only.
      await page.addInitScript(() => {
        Object.assign(window, { violations: [] })
        addEventListener("securitypolicyviolation", ({ effectiveDirective }) =>
          Reflect.get(window, "violations").push(effectiveDirective)
        )
      })
      await page.goto(url)
      await shown(page)
    })
  )

/** The directives that something on the page went against. */
export const violations = (page: Page): Promise<ReadonlyArray<string>> =>
  page.evaluate(() => Reflect.get(window, "violations"))

/** The page has requested only its own server, and everything that it shows is plain text. */
export const assertClean = (
  page: Page,
  traces: { requests: ReadonlyArray<string>; dialogs: unknown; errors: unknown }
) =>
  Effect.promise(async () => {
    const origin = new URL(page.url()).origin
    for (const url of traces.requests) assert.isTrue(url.startsWith(`${origin}/`) || url.startsWith("data:"), url)
    assert.deepStrictEqual(traces.dialogs, [])
    assert.deepStrictEqual(traces.errors, [])
    assert.deepStrictEqual(await violations(page), [])
    assert.isUndefined(await page.evaluate(() => Reflect.get(window, "injected")))
    const made = await page.evaluate(() =>
      ["script", "img", "iframe", "object", "embed", "form", "base", "video"].map(
        (tag) => document.querySelectorAll(tag).length
      )
    )
    assert.deepStrictEqual(made, [1, 0, 0, 0, 0, 0, 0, 0])
  })

/** A registry with all kinds of metrics. */
export const shop = (client: typeof PromClient) => {
  const registers = [new client.Registry()]
  const requests = new client.Counter({ name: "requests_total", help: "Requests.", labelNames: ["route"], registers })
  requests.inc({ route: "/cart" }, 3)
  requests.inc({ route: "/pay" }, 4)
  const memory = new client.Gauge({ name: "memory_bytes", help: "Memory.", registers })
  memory.set(1_572_864)
  const buckets = [0.1, 0.5, 1]
  const seconds = new client.Histogram({ name: "work_seconds", help: "Work.", buckets, registers })
  for (const value of [0.05, 0.2, 0.3, 0.4, 0.9, 3]) seconds.observe(value)
  const summary = new client.Summary({ name: "sleep_seconds", help: "Sleep.", percentiles: [0.5], registers })
  summary.observe(2)
  return { registry: registers[0] as PromClient.Registry, requests, memory, seconds }
}

// These run in the page, and know nothing of what is around them.

/** How bright the page is, how far it is too wide, and how its texts stand out from what is behind them. */
export const measured = () => {
  const channels = (color: string): ReadonlyArray<number> => (color.match(/[\d.]+/g) ?? []).map(Number)
  const luminance = (color: string): number => {
    const [red = 0, green = 0, blue = 0] = channels(color).map((channel) => {
      const part = channel / 255
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const behind = (node: Element): string => {
    const { backgroundColor } = getComputedStyle(node)
    const isOpaque = (channels(backgroundColor)[3] ?? 1) === 1
    return isOpaque || node.parentElement === null ? backgroundColor : behind(node.parentElement)
  }
  const isText = (node: Node): boolean => node.nodeType === Node.TEXT_NODE && (node.textContent ?? "").trim() !== ""
  const contrasts = Array.from(document.querySelectorAll("body *"))
    .filter((node) => Array.from(node.childNodes).some(isText) && node.checkVisibility() && node.tagName !== "SCRIPT")
    .map((node) => {
      const [light = 0, dark = 0] = [luminance(getComputedStyle(node).color), luminance(behind(node))].sort(
        (a, b) => b - a
      )
      return { text: `${node.className}: ${node.textContent}`, ratio: (light + 0.05) / (dark + 0.05) }
    })
  const { clientWidth, scrollWidth } = document.documentElement
  return { background: luminance(behind(document.body)), contrasts, overflow: scrollWidth - clientWidth }
}

/** Begins to watch for how long the page cannot do anything else; `longest()` returns it, in milliseconds. */
export const watchLongTasks = () => {
  let longest = 0
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration)
  })
  observer.observe({ type: "longtask" })
  Object.assign(window, {
    longest: () => {
      for (const { duration } of observer.takeRecords()) longest = Math.max(longest, duration)
      observer.disconnect()
      return longest
    }
  })
}
