// What is larger or odder than intended.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Page } from "playwright-core"
import { describeWith } from "../support/binaries.js"
import { browser, refreshed, shown, tab } from "../support/browser.js"
import { head, open, texts, watchLongTasks } from "../support/explorer.js"
import { inThisThread, started } from "../support/servers.js"

const many = (count: number, line: (at: number) => string): string =>
  Array.from({ length: count }, (_, at) => line(at)).join("")

const nodeCount = (page: Page): Promise<number> => page.evaluate(() => document.querySelectorAll("*").length)

describeWith(["chromium"], "The explorer handles", ({ chromium }) => {
  const launched = browser(chromium)

  /** The page with that exposition, after a second look. */
  const looked = (body: string, ...names: ReadonlyArray<string>) =>
    Effect.gen(function* () {
      const server = yield* started(inThisThread)
      const { page, traces } = yield* tab(yield* launched)
      const longest = yield* Effect.promise(async () => {
        await page.route("**/metrics", (route) => route.fulfill({ status: 200, body }))
        await page.goto(`${server.healthUrl}${open(...names)}&view=h+start`)
        await shown(page)
        await page.evaluate(watchLongTasks)
        await refreshed(page)
        return page.evaluate(() => Number(Reflect.get(window, "longest")()))
      })
      assert.deepStrictEqual(traces.errors, [])
      return { page, longest, nodes: yield* Effect.promise(() => nodeCount(page)) }
    })

  it.scopedLive("a histogram of 200,000 buckets, of which it draws as many as can be distinguished", () =>
    Effect.gen(function* () {
      const count = 200_000
      const buckets = many(count, (at) => `h_bucket{le="${at + 1}"} ${at + 1}\n`)
      const body = `# TYPE h histogram\n${buckets}h_bucket{le="+Inf"} ${count + 50}\nh_sum 1\nh_count ${count + 50}\n`
      const { longest, nodes, page } = yield* looked(body, "h")
      yield* Effect.promise(async () => {
        assert.strictEqual(await page.textContent("#summary"), "1 family, 200,003 series")
        const columns = await page
          .locator(".column")
          .evaluateAll((found) => found.map((column) => (column as HTMLElement).title))
        // All of them hold as much as the others, but the first and that without an end.
        assert.isAtMost(columns.length, 122)
        const counts = columns.map((title) => Number(/: (\d+),/.exec(title)?.[1]))
        assert.strictEqual(
          counts.reduce((sum, one) => sum + one),
          count + 50
        )
        assert.strictEqual(new Set(counts.slice(1, -1)).size, 1)
        assert.match(columns.at(-1) ?? "", /^more than 200,000: 50,/)
        assert.strictEqual((await texts(page, ".bound")).at(-1), "+Inf")
        assert.match((await texts(page, ".statistics")).join(), /^p50100,0\d\d/)
      })
      console.log(`200,000 buckets: ${nodes} elements, longest task ${longest.toFixed(0)} ms`)
      assert.isBelow(nodes, 1_000)
      assert.isBelow(longest, 1_500)
    })
  )

  it.scopedLive("a summary of 5,000 quantiles, and a series of 10,000 labels", () =>
    Effect.gen(function* () {
      const quantiles = many(5_000, (at) => `s{quantile="${at / 5_000}"} ${at}\n`)
      const labels = many(10_000, (at) => `label_${at}="v${at}",`).slice(0, -1)
      const body = `# TYPE s summary\n${quantiles}s_sum 1\ns_count 5000\n# TYPE g gauge\ng{${labels}} 1\n`
      const { nodes, page } = yield* looked(body, "s", "g")
      yield* Effect.promise(async () => {
        assert.isBelow(nodes, 600)
        assert.strictEqual(await page.locator(".series .label").count(), 50)
        assert.strictEqual((await texts(page, ".cut")).join(), "… 9,950 labels more")
        assert.strictEqual(await page.locator(".statistics > div").count(), 30 + 4)
        assert.include(await texts(page, ".statistics dd"), "4,970 more")
        // They are there all the same.
        await page.fill("#search", "label_9999")
        await page.waitForFunction(
          () => document.querySelector("#summary")?.textContent === "1 of 2 families, 1 of 5,003 series"
        )
      })
    })
  )

  it.scopedLive("a help, a name and a label value of a megabyte, also of nothing but what is escaped", () =>
    Effect.gen(function* () {
      const long = "x".repeat(1_000_000)
      const escaped = "\\\\".repeat(4_000_000)
      const body = `# HELP g ${long}\n# TYPE g gauge\ng{a="${long}",b="${escaped}"} 1\n${long} 1\n`
      const { nodes, page } = yield* looked(body, "g")
      yield* Effect.promise(async () => {
        assert.isBelow(nodes, 300)
        assert.isTrue(await page.locator("#trouble").isHidden())
        const cut = ["… 1,000,000 characters", "… 1,000,000 characters", "… 4,000,000 characters"]
        assert.deepStrictEqual(await texts(page, ".cut"), [...cut, "… 1,000,000 characters"])
        assert.isAtMost(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0)
      })
    })
  )

  it.scopedLive("names that every object has, halves of characters, and what is written from right to left", () =>
    Effect.gen(function* () {
      const names = ["__proto__", "constructor", "hasOwnProperty", "isPrototypeOf"]
      const labels = names.map((name) => `${name}="${name}"`).join(",")
      const families = names.map((name) => `# TYPE ${name} counter\n${name}{${labels}} 1\n`).join("")
      const odd = ["שלום", "\u202Eabc", "a\u0000b", "\u{1F469}\u200D\u{1F467}", ""]
      const rows = odd.map((value, at) => `odd{at="${at}",value="${value}"} ${at}\n`).join("")
      const { page } = yield* looked(`${families}# TYPE odd gauge\n${rows}`, ...names, "odd")
      yield* Effect.promise(async () => {
        assert.deepStrictEqual(await texts(page, ".name"), [...names, "odd"])
        const own = names.flatMap(() => names.map((name) => `${name}${name}`))
        assert.deepStrictEqual((await texts(page, ".label")).slice(0, own.length), own)
        assert.deepStrictEqual(
          (await texts(page, ".label-value")).slice(own.length).filter((_, at) => at % 2 === 1),
          ["שלום", "U+202Eabc", "aU+0000b", "\u{1F469}U+200D\u{1F467}", ""]
        )
        assert.strictEqual(await head(page, "constructor").locator(".value").textContent(), "1")
        // Its direction is its own: what is beside it stays where it is.
        const places = await page.locator(".label", { hasText: "שלום" }).evaluate((label) => {
          const left = (selector: string) => label.querySelector(selector)?.getBoundingClientRect().left ?? 0
          return [left(".label-name"), left(".label-value")]
        })
        assert.isBelow(places[0] ?? 0, places[1] ?? 0)
      })
    })
  )

  it.scopedLive("100,000 buckets of a family that is open, all of which are gone at once", () =>
    Effect.gen(function* () {
      const bodies = [many(100_000, (at) => `h_bucket{le="${at}"} ${at}\n`), 'h_bucket{le="+Inf"} 1\nh_count 1\n', ""]
      const server = yield* started(inThisThread)
      const { page } = yield* tab(yield* launched)
      yield* Effect.promise(async () => {
        await page.route("**/metrics", (route) =>
          route.fulfill({ status: 200, body: `# TYPE h histogram\n${bodies[0]}` })
        )
        await page.goto(`${server.healthUrl}${open("h")}`)
        await shown(page)
        for (const summary of ["1 family, 2 series", "1 family, 0 series"]) {
          bodies.shift()
          await page.evaluate(watchLongTasks)
          await refreshed(page)
          assert.strictEqual(await page.textContent("#summary"), summary)
          const longest = await page.evaluate(() => Number(Reflect.get(window, "longest")()))
          assert.isBelow(longest, 3_000)
        }
      })
    })
  )

  for (const { fragment, title } of [
    { title: "250,000 words to look for", fragment: `#q=${many(250_000, (at) => `w${at}+`)}` },
    { title: "one word 500,000 times", fragment: `#q=${"v+".repeat(500_000)}` },
    { title: "250,000 names of what is open", fragment: `#open=${many(250_000, (at) => `f${at},`)}` }
  ]) {
    it.scopedLive(`a link with ${title}`, () =>
      Effect.gen(function* () {
        const server = yield* started(inThisThread)
        const { page, traces } = yield* tab(yield* launched)
        const body = many(3_000, (at) => `# TYPE f${at} gauge\nf${at}{a="${"v".repeat(100)}"} ${at}\n`)
        yield* Effect.promise(async () => {
          await page.route("**/metrics", (route) => route.fulfill({ status: 200, body }))
          await page.goto(`${server.healthUrl}${fragment}`)
          await shown(page)
          await page.fill("#search", "f2999")
          await page.waitForFunction(() => document.querySelectorAll(".head").length === 1)
        })
        assert.deepStrictEqual(traces.errors, [])
      })
    )
  }

  for (const { answer, message } of [
    { answer: { status: 302, headers: { location: "/login" } }, message: "another page in place of the metrics" },
    {
      answer: { status: 200, contentType: "text/html", body: "<form>Log in</form>" },
      message: "another page in place"
    },
    {
      answer: { status: 200, contentType: "text/html; charset=utf-8", body: "a 1\n" },
      message: "another page in place"
    },
    {
      answer: { status: 401, contentType: "text/html", body: "Unauthorized" },
      message: "The server answers 401: Unauth"
    }
  ]) {
    it.scopedLive(
      `a response of another server, ${answer.status} ${answer.contentType ?? "and an address"}, and keeps its numbers`,
      () =>
        Effect.gen(function* () {
          const server = yield* started(inThisThread)
          const { page } = yield* tab(yield* launched)
          yield* Effect.promise(async () => {
            await page.route("**/metrics", (route) => route.fulfill({ status: 200, body: "a 5\n" }))
            await page.goto(server.healthUrl)
            await shown(page)
            assert.strictEqual(await page.title(), `${new URL(server.healthUrl).host} – Metrics`)
            await page.unroute("**/metrics")
            await page.route("**/metrics", (route) => route.fulfill(answer))
            await refreshed(page)
            assert.include(await page.textContent("#trouble"), message)
            assert.match(String(await page.textContent("#status")), /^Numbers of \d\d:\d\d:\d\d$/)
            assert.strictEqual(await head(page, "a").locator(".value").textContent(), "5")
          })
        })
    )
  }
})
