// The rows of a family in a real browser: filtered, sorted, summed, and copied as PromQL.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Browser, Page } from "playwright-core"
import { describeWith } from "../support/binaries.js"
import { browser, refreshed, shown, tab } from "../support/browser.js"
import { assertClean, head, measured, open, texts } from "../support/explorer.js"
import { histogramLines } from "../support/explorerStore.js"
import { inThisThread, started } from "../support/servers.js"

const requests = (...counts: ReadonlyArray<number>): string => {
  const labels = ['route="/a",status="200"', 'route="/a",status="500"', 'route="/b",status="200"']
  return `# TYPE requests_total counter\n${labels.map((label, at) => `requests_total{${label}} ${counts[at]}\n`).join("")}`
}

const work = (...counts: ReadonlyArray<number>): string =>
  `# TYPE work_seconds histogram\n${counts
    .map((count, at) =>
      histogramLines(
        "work_seconds",
        `route="/${at}",method="GET"`,
        { "1": at === 0 ? count : 0, "2": count, "+Inf": count },
        count
      )
    )
    .join("")}`

/** A page that shows `body.text`, which a test can change. */
const answered = (launched: Browser, body: { text: string }, fragment = "", options?: Parameters<typeof tab>[1]) =>
  Effect.gen(function* () {
    const server = yield* started(inThisThread)
    const { page, traces } = yield* tab(launched, options)
    yield* Effect.promise(async () => {
      await page.addInitScript(() => Object.assign(window, { violations: [] }))
      await page.addInitScript(() =>
        addEventListener("securitypolicyviolation", ({ effectiveDirective }) =>
          Reflect.get(window, "violations").push(effectiveDirective)
        )
      )
      await page.route("**/metrics", (route) => route.fulfill({ status: 200, body: body.text }))
      await page.goto(`${server.healthUrl}${fragment}`)
      await shown(page)
    })
    return { page, traces }
  })

const clipboard = { permissions: ["clipboard-read", "clipboard-write"] }

const copied = (page: Page): Promise<string> => page.evaluate(() => navigator.clipboard.readText())

/** Waits until the panel says what has become of an expression. */
const panelSays = (page: Page, text: string): Promise<unknown> =>
  page.waitForFunction((expected) => document.querySelector("#promql-status")?.textContent === expected, text)

const rows = (page: Page): Promise<ReadonlyArray<ReadonlyArray<string>>> =>
  page
    .locator(".series tbody tr")
    .evaluateAll((nodes) =>
      nodes.map((node) =>
        Array.from(node.querySelectorAll(".label-value, .of, .number")).map(({ textContent }) => textContent ?? "")
      )
    )

const waitForRows = async (page: Page, first: ReadonlyArray<string>): Promise<void> => {
  await page.waitForFunction(
    (expected) =>
      Array.from(document.querySelectorAll(".series tbody tr:first-child :is(.label-value, .of)"))
        .map(({ textContent }) => textContent)
        .join() === expected,
    first.join()
  )
}

describeWith(["chromium"], "The rows of the explorer", ({ chromium }) => {
  const launched = browser(chromium)

  it.scopedLive("and the line above them are of what the filter leaves, with their number", () =>
    Effect.gen(function* () {
      const body = { text: requests(100, 10, 50) + work(6, 2) }
      const { page, traces } = yield* answered(yield* launched, body, open("requests_total"))
      const line = async (name: string) => {
        const all = head(page, name)
        return Promise.all([".count", ".value"].map((part) => all.locator(part).textContent()))
      }
      yield* Effect.promise(async () => {
        body.text = requests(160, 12, 50) + work(6, 2)
        await refreshed(page)
        assert.deepStrictEqual(await line("requests_total"), ["3 series", "222"])
        const all = await head(page, "requests_total").locator(".spark-line").getAttribute("d")
        await page.fill("#search", "500")
        await page.waitForFunction(() => document.querySelectorAll(".family").length === 1)
        assert.deepStrictEqual(await line("requests_total"), ["1 of 3 series", "12"])
        assert.strictEqual(await page.textContent("#summary"), `1 of 2 families, 1 of 13 series`)
        const rate = String(await head(page, "requests_total").locator(".more").first().textContent())
        assert.strictEqual(rate, (await rows(page))[0]?.at(-1))
        await page.fill("#search", "/0")
        await page.waitForFunction(() => document.querySelector(".name")?.textContent === "work_seconds")
        assert.deepStrictEqual(await line("work_seconds"), ["5 of 10 series", "–"])
        assert.match(
          (await texts(page, ".more")).join("; "),
          /^nothing in the last \d+ s; since start 500 ms – 990 ms$/
        )
        await page.fill("#search", "")
        await page.waitForFunction(() => document.querySelectorAll(".family").length === 2)
        assert.deepStrictEqual(await line("requests_total"), ["3 series", "222"])
        assert.strictEqual(await head(page, "requests_total").locator(".spark-line").getAttribute("d"), all)
      })
      yield* assertClean(page, traces)
    })
  )

  it.scopedLive("are sorted by the headings, with the keyboard as well, and a link keeps it", () =>
    Effect.gen(function* () {
      const body = { text: requests(100, 10, 50) }
      const { page, traces } = yield* answered(yield* launched, body, open("requests_total"))
      const order = () =>
        page.locator(".series th").evaluateAll((nodes) => nodes.map((node) => node.getAttribute("aria-sort") ?? ""))
      const values = async () => (await rows(page)).map((row) => row[2])
      yield* Effect.promise(async () => {
        body.text = requests(101, 12, 60)
        await refreshed(page)
        assert.deepStrictEqual(await order(), ["ascending", "", "", "", ""])
        assert.deepStrictEqual(await values(), ["101", "12", "60"])
        await page.focus(".series th:nth-child(3) button")
        await page.keyboard.press("Enter")
        await waitForRows(page, ["/a", "200"])
        assert.deepStrictEqual(await order(), ["", "", "descending", "", ""])
        assert.deepStrictEqual(await values(), ["101", "60", "12"])
        await page.keyboard.press("Enter")
        await waitForRows(page, ["/a", "500"])
        assert.deepStrictEqual(await order(), ["", "", "ascending", "", ""])
        assert.strictEqual(await page.evaluate(() => document.activeElement?.textContent), "Value")
        await page.getByRole("button", { name: "Per second" }).click()
        await waitForRows(page, ["/b", "200"])
        assert.deepStrictEqual(await values(), ["60", "12", "101"])
        assert.strictEqual(new URL(page.url()).hash, "#open=requests_total&view=requests_total+-rate")
        await page.reload()
        await shown(page)
        assert.deepStrictEqual(await order(), ["", "", "", "descending", ""])
        await page.getByRole("button", { name: "Labels" }).click()
        await page.waitForFunction(() => !location.hash.includes("view"))
      })
      yield* assertClean(page, traces)
    })
  )

  it.scopedLive("are summed by the labels that are chosen, of what the filter leaves", () =>
    Effect.gen(function* () {
      const body = { text: requests(100, 10, 50) }
      const { page, traces } = yield* answered(yield* launched, body, open("requests_total"))
      yield* Effect.promise(async () => {
        await page.click('.chip:has-text("route")')
        await waitForRows(page, ["/a", "2 series"])
        assert.deepStrictEqual(await rows(page), [
          ["/a", "2 series", "110", "–"],
          ["/b", "1 series", "50", "–"]
        ])
        assert.strictEqual(await page.locator('.chip:has-text("route")').getAttribute("aria-pressed"), "true")
        await page.fill("#search", '"200')
        await waitForRows(page, ["/a", "1 series"])
        assert.deepStrictEqual(
          (await rows(page)).map((row) => row[2]),
          ["100", "50"]
        )
        await page.fill("#search", "")
        await page.click('.chip:has-text("status")')
        await waitForRows(page, ["/a", "200", "1 series"])
        await page.reload()
        await shown(page)
        assert.lengthOf(await rows(page), 3)
        await page.click('.chip:has-text("route")')
        await waitForRows(page, ["200", "2 series"])
        body.text = requests(200, 10, 50)
        await refreshed(page)
        assert.deepStrictEqual((await rows(page))[0]?.slice(0, 3), ["200", "2 series", "250"])
        await page.click('.chip:has-text("status")')
        await waitForRows(page, ["/a", "200"])
      })
      yield* assertClean(page, traces)
    })
  )

  it.scopedLive("of a histogram are summed and sorted as well, and say which time they are about", () =>
    Effect.gen(function* () {
      const body = { text: work(4, 9, 2) }
      const { page, traces } = yield* answered(yield* launched, body, open("work_seconds"))
      const figures = () => texts(page, ".figure .label-value")
      yield* Effect.promise(async () => {
        assert.match(String(await page.textContent(".note")), /^These are the observations since the start\./)
        body.text = work(8, 10, 4)
        await refreshed(page)
        assert.match(
          String(await page.textContent(".note")),
          /^Nothing was requested a minute ago: these are the observations of the last \d+ s\.$/
        )
        assert.deepStrictEqual(
          (await figures()).filter((_, at) => at % 2 === 0),
          ["/0", "/1", "/2"]
        )
        await page.click('.toolbar [data-sort]:has-text("count")')
        await page.waitForSelector('[data-sort="descending"]')
        assert.deepStrictEqual(
          (await figures()).filter((_, at) => at % 2 === 0),
          ["/0", "/2", "/1"]
        )
        assert.deepStrictEqual(await texts(page, '[data-sort="descending"]'), ["count, descending"])
        await page.click('.chip:has-text("method")')
        await page.waitForFunction(() => document.querySelectorAll(".figure").length === 1)
        assert.deepStrictEqual(await texts(page, ".figure .of"), ["3 series"])
        const names = await texts(page, ".statistics dt")
        const values = await texts(page, ".statistics dd")
        assert.deepStrictEqual(names, ["p50", "p95", "p99", "mean", "count", "per second"])
        assert.strictEqual(values[4], "7")
        assert.strictEqual(values[0], "875 ms")
        assert.match(String(await page.textContent(".secondary")), /, 22 observations$/)
      })
      yield* assertClean(page, traces)
    })
  )

  it.scopedLive("are copied as PromQL, one by one and all together, and the focus returns", () =>
    Effect.gen(function* () {
      const body = { text: requests(100, 10, 50) + work(4) }
      const { page, traces } = yield* answered(yield* launched, body, open("requests_total", "work_seconds"), clipboard)
      yield* Effect.promise(async () => {
        const done = "Copied as PromQL."
        for (const name of ['route="/a" status="200"', 'route="/a" status="500"', 'route="/0" method="GET"']) {
          const button = page.getByRole("button", { name: `Copy as PromQL ${name}`, exact: true })
          assert.strictEqual(await button.count(), 1, name)
        }
        await page.focus(".series tbody tr:nth-child(2) .copy-icon")
        await page.keyboard.press("Enter")
        await panelSays(page, done)
        assert.strictEqual(await copied(page), 'rate(requests_total{route="/a",status="500"}[5m])')
        assert.strictEqual(await page.evaluate(() => document.activeElement?.id), "promql-text")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.waitForFunction(async () => (await navigator.clipboard.readText()).startsWith("requests_total"))
        assert.strictEqual(await copied(page), 'requests_total{route="/a",status="500"}')
        assert.deepStrictEqual(await texts(page, '#promql-kinds [aria-pressed="true"]'), ["Value"])
        await page.keyboard.press("Escape")
        assert.isTrue(await page.locator("#promql").isHidden())
        assert.isTrue(await page.evaluate(() => document.activeElement?.matches("tr:nth-child(2) .copy-icon")))
        await page.fill("#search", '"200')
        await waitForRows(page, ["/a", "200"])
        await page.click('.chip:has-text("route")')
        await waitForRows(page, ["/a", "1 series"])
        await page.locator(".toolbar").first().getByText("Copy as PromQL").click()
        await panelSays(page, done)
        assert.strictEqual(await copied(page), 'sum by (route) (rate(requests_total{status="200"}[5m]))')
        await page.fill("#search", "")
        await page.waitForSelector(".figure .copy-icon")
        await page.click(".figure .copy-icon")
        await page.waitForFunction(async () => (await navigator.clipboard.readText()).includes("0.95"))
        assert.strictEqual(
          await copied(page),
          'histogram_quantile(0.95, rate(work_seconds_bucket{route="/0",method="GET"}[5m]))'
        )
        assert.deepStrictEqual(await texts(page, "#promql-kinds button"), ["p50", "p95", "p99", "Mean", "Per second"])
        // What it was opened from is gone when it is closed.
        await page.evaluate(() => (document.querySelector("#collapse") as HTMLButtonElement).click())
        await page.waitForFunction(() => document.querySelector(".figure") === null)
        await page.click("#promql-close")
        assert.strictEqual(await page.evaluate(() => document.activeElement?.id), "main")
      })
      yield* assertClean(page, traces)
    })
  )

  for (const [reason, refuse] of [
    ["there is no clipboard", () => Object.defineProperty(navigator, "clipboard", { value: undefined })],
    [
      "the browser refuses it",
      () => Object.defineProperty(navigator, "clipboard", { value: { writeText: () => Promise.reject(new Error()) } })
    ]
  ] as const) {
    it.scopedLive(`are shown as selected PromQL if ${reason}`, () =>
      Effect.gen(function* () {
        const value = '</textarea><img src=x onerror="window.injected=1">\\n'
        const body = { text: `# TYPE g gauge\ng{a="${value.replaceAll('"', '\\"')}"} 1\ng{a="2"} 2\n` }
        const { page, traces } = yield* answered(yield* launched, body, open("g"))
        yield* Effect.promise(async () => {
          await page.evaluate(refuse)
          await page.click(".series tbody tr:first-child .copy-icon")
          await panelSays(page, "The clipboard is not available to this page. Copy the selected text.")
          const selected = await page.evaluate(() => {
            const { selectionEnd, selectionStart, value } = document.activeElement as HTMLTextAreaElement
            return value.slice(selectionStart, selectionEnd)
          })
          assert.strictEqual(selected, `g{a="${value.replaceAll('"', '\\"')}"}`)
          // One expression needs no choice.
          assert.isTrue(await page.locator("#promql-kinds").isHidden())
        })
        yield* assertClean(page, traces)
      })
    )
  }

  for (const colorScheme of ["light", "dark"] as const) {
    it.scopedLive(`can be read in ${colorScheme} colours in each of these states, from 320 pixels up`, () =>
      Effect.gen(function* () {
        const body = { text: requests(100, 10, 50) + work(4, 2) }
        const fragment = "&view=requests_total+-rate+by:route&view=work_seconds+-p99+by:route"
        const { page, traces } = yield* answered(
          yield* launched,
          body,
          `${open("requests_total", "work_seconds")}${fragment}`,
          { ...clipboard, colorScheme }
        )
        yield* Effect.promise(async () => {
          body.text = requests(160, 12, 50) + work(6, 2)
          await refreshed(page)
          await page.locator(".toolbar").first().getByText("Copy as PromQL").click()
          await panelSays(page, "Copied as PromQL.")
          for (const width of [320, 375, 800, 1_280]) {
            await page.setViewportSize({ width, height: 700 })
            const { contrasts, overflow } = await page.evaluate(measured)
            assert.isAtMost(overflow, 0, `${width} pixels`)
            assert.isAbove(contrasts.length, 60)
            for (const { ratio, text } of contrasts) assert.isAtLeast(ratio, 4.5, text)
          }
        })
        yield* assertClean(page, traces)
      })
    )
  }
})
