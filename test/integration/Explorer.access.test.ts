// Whoever looks with a keyboard, a screen reader, another size or other colours.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Browser, Page } from "playwright-core"
import * as PromClient from "prom-client"
import { describeWith } from "../support/binaries.js"
import { browser, refreshed, shown, tab } from "../support/browser.js"
import { assertClean, head, measured, open, opened, shop, texts } from "../support/explorer.js"
import { inThisThread, started } from "../support/servers.js"

interface Property {
  readonly name: string
  readonly value: { readonly value?: unknown }
}

/** What a screen reader gets to know of an element. */
interface Accessible {
  readonly ignored: boolean
  readonly role?: { readonly value?: string }
  readonly name?: { readonly value?: string }
  readonly properties?: ReadonlyArray<Property>
}

interface AccessibleNode {
  readonly role: string
  readonly name: string
  readonly properties: Readonly<Record<string, unknown>>
}

const tree = async (page: Page): Promise<ReadonlyArray<AccessibleNode>> => {
  const session = await page.context().newCDPSession(page)
  const { nodes } = (await session.send("Accessibility.getFullAXTree")) as { nodes: ReadonlyArray<Accessible> }
  await session.detach()
  return nodes
    .filter(({ ignored }) => !ignored)
    .map(({ name, properties = [], role }) => ({
      role: role?.value ?? "",
      name: name?.value ?? "",
      properties: Object.fromEntries(properties.map((property) => [property.name, property.value.value]))
    }))
}

/** What has the focus, as `tag#id` or `tag.class`. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const { className, id, tagName } = document.activeElement ?? document.body
    return `${tagName.toLowerCase()}${id === "" || id.startsWith("family-") ? `.${className}` : `#${id}`}`
  })

const focusedText = (page: Page): Promise<string> => page.evaluate(() => document.activeElement?.textContent ?? "")

/** What the page has a screen reader say from now on. */
const listenTo = (page: Page): Promise<() => Promise<ReadonlyArray<string>>> =>
  page
    .evaluate(() => {
      const said: Array<string> = []
      Object.assign(window, { said })
      const live = "[aria-live], [role=status], [role=alert], [role=log], [role=timer]"
      new MutationObserver((changes) => {
        const places = changes.map(({ target }) => (target instanceof Element ? target : target.parentElement))
        const regions = new Set(places.map((place) => place?.closest(live)).filter((place) => place instanceof Element))
        for (const region of regions) said.push(region.textContent ?? "")
      }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true })
    })
    .then(() => () => page.evaluate(() => Reflect.get(window, "said").splice(0)))

const drawn = (page: Page): Promise<unknown> =>
  page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))))

/** A page that gets what `bodies` says at the moment. */
const answered = (launched: Browser, bodies: { text: string }, fragment = "", options?: Parameters<typeof tab>[1]) =>
  Effect.gen(function* () {
    const server = yield* started(inThisThread)
    const { page } = yield* tab(launched, options)
    yield* Effect.promise(async () => {
      await page.route("**/metrics", (route) => route.fulfill({ status: 200, body: bodies.text }))
      await page.goto(`${server.healthUrl}${fragment}`)
      await shown(page)
    })
    return page
  })

const series = (name: string, count: number): string =>
  `# TYPE ${name} gauge\n${Array.from({ length: count }, (_, at) => `${name}{at="${at}"} 1\n`).join("")}`

describeWith(["chromium"], "The accessible explorer", ({ chromium }) => {
  const launched = browser(chromium)

  it.scopedLive("gives every control a role and a name, and every family a heading that opens and closes it", () =>
    Effect.gen(function* () {
      const { registry, requests } = shop(PromClient)
      const server = yield* started(inThisThread, { selfMetrics: false }, { registry })
      const closed = ["effect_prometheus_errors_total counter", "memory_bytes gauge", "sleep_seconds summary"]
      const [own = "", ...ofShop] = [...closed, "requests_total counter", "work_seconds histogram"].sort()
      const families = [...ofShop, own]
      const url = `${server.healthUrl}${open("requests_total", "work_seconds")}&view=work_seconds+start`
      const { page, traces } = yield* opened(yield* launched, url)
      yield* Effect.promise(async () => {
        for (const _ of [1, 2]) {
          requests.inc({ route: "/pay" })
          await refreshed(page)
        }
        const all = await tree(page)
        const controls = all
          .filter(
            ({ properties, role }) => properties["focusable"] === true && !["RootWebArea", "option"].includes(role)
          )
          .map(({ name, role }) => `${role} ${name}`)
        const expected = [
          "button Close all",
          // Those of all rows of a family, and of each row.
          ...["", "", " no labels", ' route="/cart"', ' route="/pay"'].map((row) => `button Copy as PromQL${row}`),
          "button Labels",
          "button Last minute",
          "button Pause",
          "button Per second",
          "button Refresh",
          "button Since the start",
          "button Theme: auto",
          "button Value",
          "button While this page is open",
          ...families.map((family) => `button ${family}`),
          "button route",
          "checkbox Changed only",
          "combobox Sort by",
          "combobox Type",
          "link Raw text",
          "main ",
          "searchbox Filter by name, help and labels"
        ]
        assert.deepStrictEqual(controls.sort(), expected.sort())
        const headings = all.filter(({ role }) => role === "heading").map(({ name }) => name)
        assert.deepStrictEqual(headings, ["Metrics", ...families])
        const expanded = all.filter(({ properties }) => "expanded" in properties && !("hasPopup" in properties))
        assert.deepStrictEqual(
          expanded.map(({ name, properties }) => `${name}: ${properties["expanded"]}`),
          families.map((family) => `${family}: ${!closed.includes(family)}`)
        )
        assert.deepStrictEqual(
          all.filter(({ role }) => role === "table").map(({ name }) => name),
          ["requests_total counter"]
        )
        // The lines are not there, and so is the column of them; bars are described in words.
        assert.deepStrictEqual(
          all.filter(({ role }) => role === "columnheader").map(({ name }) => name),
          ["Labels", "Value", "Per second", "PromQL"]
        )
        const bars = "4 buckets. up to 100 ms: 1; from 100 ms to 500 ms: 3; from 500 ms to 1 s: 1; more than 1 s: 1"
        assert.deepStrictEqual(
          all.filter(({ role }) => /^(image|img|graphics|figure|SvgRoot)/i.test(role)).map(({ name }) => name),
          [bars]
        )
        assert.deepStrictEqual(
          all.filter(({ properties }) => properties["busy"] === true),
          []
        )
      })
      yield* assertClean(page, traces)
    })
  )

  it.scopedLive("says what is found and what goes wrong, and nothing of numbers that are new", () =>
    Effect.gen(function* () {
      const bodies = { text: series("one", 1) + series("two", 2) }
      const page = yield* answered(yield* launched, bodies, open("one"))
      yield* Effect.promise(async () => {
        const said = await listenTo(page)
        for (const count of [3, 4, 5]) {
          bodies.text = series("one", count) + series("two", 2)
          await refreshed(page)
          assert.strictEqual(await page.textContent("#summary"), `2 families, ${count + 2} series`)
        }
        assert.deepStrictEqual(await said(), [])
        await page.fill("#search", "two")
        await drawn(page)
        await page.selectOption("#kind", "counter")
        await drawn(page)
        assert.deepStrictEqual(await said(), ["1 of 2 families, 2 of 7 series", "0 of 2 families, 0 of 7 series"])
        await refreshed(page)
        await page.selectOption("#sort", "series")
        await page.click("#theme")
        await page.click("text=Clear the filter")
        await drawn(page)
        assert.deepStrictEqual(await said(), ["2 families, 7 series"])
        // The numbers are older each time, which is one and the same trouble.
        const old = "# TYPE effect_prometheus_exposition_age_seconds gauge\neffect_prometheus_exposition_age_seconds "
        for (const age of [12, 17, 22]) {
          bodies.text = `${old}${age}\n`
          await refreshed(page)
        }
        assert.include(await page.textContent("#trouble"), "these numbers are 22 s old")
        assert.deepStrictEqual(await said(), [
          "The application does not answer its worker: these numbers are 12 s old."
        ])
        bodies.text = series("one", 1)
        await refreshed(page)
        assert.deepStrictEqual(await said(), ["All of the metrics are here again."])
      })
    })
  )

  it.scopedLive("keeps the focus when numbers change, and moves it nearby if its element is removed", () =>
    Effect.gen(function* () {
      const bodies = { text: series("a", 3) + series("b", 2) + series("c", 60) }
      const page = yield* answered(yield* launched, bodies, `${open("c")}&sort=series`)
      yield* Effect.promise(async () => {
        assert.deepStrictEqual(await texts(page, ".name"), ["c", "a", "b"])
        await head(page, "b").locator(".title").focus()
        // It goes up, and others are put before it.
        for (const count of [4, 70, 1]) {
          bodies.text = series("a", 3) + series("b", count) + series("c", 60)
          await refreshedByKey(page)
          assert.strictEqual(await focusedText(page), "b gauge", `with ${count} series`)
        }
        await page.locator(".more-button").focus()
        await page.keyboard.press("Enter")
        assert.strictEqual(await page.locator(".series tbody tr").count(), 60)
        assert.strictEqual(await focusedText(page), "c gauge")
        await page.locator("#collapse").focus()
        await page.keyboard.press("Enter")
        await drawn(page)
        assert.isTrue(await page.locator("#collapse").isHidden())
        assert.strictEqual(await focused(page), "main#main")
        await head(page, "a").locator(".title").focus()
        bodies.text = series("b", 1)
        await refreshedByKey(page)
        assert.strictEqual(await focused(page), "main#main")
        await page.keyboard.press("Tab")
        assert.strictEqual(await focusedText(page), "b gauge")
      })
    })
  )

  for (const width of [1_280, 800, 360]) {
    it.scopedLive(`shows the focus on every element, ${width} pixels wide`, () =>
      Effect.gen(function* () {
        const names = Array.from({ length: 40 }, (_, at) => `family_${String(at).padStart(2, "0")}`)
        const bodies = { text: names.map((name, at) => series(name, 60 + at)).join("") }
        const viewport = { width, height: 700 }
        const page = yield* answered(yield* launched, bodies, open("family_00", "family_20"), { viewport })
        yield* Effect.promise(async () => {
          // Of each open family: the button of its label, of its expression, of two columns, of 50 rows, and for more.
          const steps = 8 + 1 + names.length + 2 * (1 + 1 + 2 + 50 + 1)
          const seen: Array<string> = []
          for (const key of ["Tab", "Shift+Tab"]) {
            for (let step = key === "Tab" ? 0 : 1; step < steps; step += 1) {
              await page.keyboard.press(key)
              const { covered, outline, what } = await page.evaluate(focusShown)
              seen.push(what)
              assert.isAtLeast(outline, 2, what)
              assert.isFalse(covered, `${what} is covered after ${key}`)
            }
            await page.evaluate(() => document.activeElement?.scrollIntoView({ block: "end" }))
          }
          assert.strictEqual(new Set(seen).size, steps)
        })
      })
    )
  }

  for (const colorScheme of ["light", "dark"] as const) {
    it.scopedLive(
      `can be read in ${colorScheme} colours in every state, and from 320 pixels up or twice as large`,
      () =>
        Effect.gen(function* () {
          const bodies = {
            text: [
              ...[series("none_yet", 0), series("many", 60), series(`long_${"name_".repeat(40)}`, 1)],
              '# HELP odd \u202E and \u0007\n# TYPE odd counter\nodd{x="\\n\u2066",y=""} NaN\nno_number\n',
              `odd{long="${"x".repeat(1_000)}"} 1\n`,
              '# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_count 2\nh_sum 3\n'
            ].join("")
          }
          const names = ["none_yet", "many", "odd", "h"]
          const page = yield* answered(yield* launched, bodies, open(...names), { colorScheme })
          yield* Effect.promise(async () => {
            await page.unroute("**/metrics")
            await page.route("**/metrics", (route) => route.fulfill({ status: 500, body: "broken" }))
            await refreshed(page)
            assert.isTrue(await page.locator("#trouble").isVisible())
            let count = 0
            // 640 is how wide a window of 1280 is at 200 %.
            for (const width of [320, 360, 640, 800, 1_280]) {
              await page.setViewportSize({ width, height: 700 })
              for (const search of ["", "many", "nowhere"]) {
                await page.fill("#search", search)
                await drawn(page)
                const { background, contrasts, overflow } = await page.evaluate(measured)
                assert.strictEqual(background > 0.5, colorScheme === "light")
                assert.isAtMost(overflow, 0, `${width} pixels, ${search}`)
                assert.deepStrictEqual(await page.evaluate(uponAnother), [], `${width} pixels`)
                for (const { ratio, text } of contrasts) assert.isAtLeast(ratio, 4.5, text)
                count += contrasts.length
              }
            }
            console.log(`${colorScheme}: ${count} texts of five widths can be read`)
            assert.isAbove(count, 1_000)
          })
        })
    )
  }

  it.scopedLive("does not move if the user prefers reduced motion", () =>
    Effect.gen(function* () {
      const moving = (page: Page): Promise<number> =>
        page.evaluate(
          () =>
            Array.from(document.querySelectorAll("*"))
              .flatMap((node) => [node, "::before", "::after"].map((part) => [node, part] as const))
              .map(([node, part]) => getComputedStyle(node, typeof part === "string" ? part : null))
              .filter(
                ({ animationName, scrollBehavior, transitionDuration }) =>
                  transitionDuration !== "0s" || animationName !== "none" || scrollBehavior !== "auto"
              ).length
        )
      const bodies = { text: series("one", 2) }
      const still = yield* answered(yield* launched, bodies, open("one"), { reducedMotion: "reduce" })
      const other = yield* answered(yield* launched, bodies, open("one"), { reducedMotion: "no-preference" })
      assert.strictEqual(yield* Effect.promise(() => moving(still)), 0)
      assert.isAbove(yield* Effect.promise(() => moving(other)), 0)
    })
  )
})

/** As `refreshed`, but without a click, which would take the focus. */
const refreshedByKey = async (page: Page): Promise<void> => {
  await shown(page)
  await page.evaluate(() => (document.querySelector("#refresh") as HTMLButtonElement).click())
  await shown(page)
}

/** How wide the outline of what has the focus is, and whether something covers it. It runs in the page. */
const focusShown = () => {
  const node = document.activeElement ?? document.body
  const { outlineStyle, outlineWidth } = getComputedStyle(node)
  const { bottom, left, right, top } = node.getBoundingClientRect()
  const middle = document.elementFromPoint((left + right) / 2, (top + bottom) / 2)
  const isSeen = middle !== null && (node.contains(middle) || middle.contains(node)) && top >= 0
  return {
    outline: outlineStyle === "none" ? 0 : Number.parseFloat(outlineWidth),
    covered: !isSeen,
    what: `${node.tagName} ${node.id} ${node.textContent?.slice(0, 40)} ${Array.from(document.querySelectorAll("*")).indexOf(node)}`
  }
}

/** What overlaps on the line of a family. It runs in the page. */
const uponAnother = () =>
  Array.from(document.querySelectorAll(".head")).flatMap((line) => {
    const parts = Array.from(line.querySelectorAll(".name, .kind, .help, .count, .spark, .value, .more"))
      .filter((part) => part.textContent !== "" || part.matches(".spark"))
      .map((part) => ({ part: part.getAttribute("class"), place: part.getBoundingClientRect() }))
      .filter(({ place }) => place.width > 0)
    return parts.flatMap((one, index) =>
      parts
        .slice(index + 1)
        .filter(
          ({ place }) =>
            Math.min(one.place.right, place.right) - Math.max(one.place.left, place.left) > 1 &&
            Math.min(one.place.bottom, place.bottom) - Math.max(one.place.top, place.top) > 1
        )
        .map((other) => `${one.part} and ${other.part}`)
    )
  })
