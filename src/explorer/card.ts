/** A family: a line that summarizes it, and its series below the line when it is open. */
import type { Actions } from "./actions.js"
import { bodyView } from "./body.js"
import type { Choice } from "./choice.js"
import { drawn, element, entitle, literal, write } from "./dom.js"
import { historyOf } from "./figures.js"
import type { Found } from "./filter.js"
import { counted, type Unit, unitOf } from "./format.js"
import { type Family, isGauge } from "./model.js"
import { sparkline } from "./sparkline.js"
import { summaryOf } from "./summary.js"

/** A family in the list. */
export interface Card {
  readonly node: HTMLElement
  /** Without a choice it is closed. */
  readonly update: (found: Found, choice: Choice | undefined) => void
}

let lastId = 0

/** The card of a family. */
export const card = (family: Family, actions: Actions): Card => {
  const unit = unitOf(family.name, family.kind)
  const head = headOf(family, unit, () => actions.toggle(family))
  const body = element("div", "body")
  body.id = `${head.button.id}-series`
  head.button.setAttribute("aria-controls", body.id)
  const node = element("section", "family", head.node, body)
  let inside: ((found: Found, choice: Choice) => void) | undefined
  const update = (found: Found, choice: Choice | undefined): void => {
    const isOpen = choice !== undefined
    head.update(found)
    head.button.setAttribute("aria-expanded", String(isOpen))
    node.classList.toggle("open", isOpen)
    body.hidden = !isOpen
    if (!isOpen) {
      body.replaceChildren()
      inside = undefined
      return
    }
    inside ??= bodyView(body, head.button, family, unit, actions)
    inside(found, choice)
  }
  return { node, update }
}

const headOf = (family: Family, unit: Unit, onToggle: () => void) => {
  const help = element("span", "help")
  const count = element("span", "count")
  const value = element("span", "value")
  const more = element("span", "more")
  const since = element("span", "more since")
  const spark = sparkline()
  const chevron = drawn("svg", { class: "chevron", viewBox: "0 0 16 16", "aria-hidden": "true" })
  chevron.append(drawn("path", { d: "M6 3.5 10.5 8 6 12.5" }))
  const name = element("span", "name", literal(family.name))
  const kind = element("span", "kind", family.kind)
  // Its name does not change with the values: a screen reader repeats each change of the button that has the focus.
  const toggle = element("button", "title", name, " ", kind)
  toggle.type = "button"
  lastId += 1
  toggle.id = `family-${lastId}`
  const node = element(
    "div",
    "head",
    chevron,
    element("div", "what", element("h2", "", toggle), help),
    count,
    element("span", "trend", spark.node),
    element("span", "summary", value, more, since)
  )
  // The whole line can be clicked.
  node.addEventListener("click", onToggle)
  let helped: string | undefined
  const update = (found: Found): void => {
    if (family.help !== helped) {
      helped = family.help
      help.replaceChildren(literal(helped))
    }
    write(count, countText(found))
    count.classList.toggle("some", isPart(found))
    const summary = summaryOf(found, unit)
    write(value, summary.text)
    entitle(value, summary.title)
    write(more, summary.more)
    write(since, summary.since)
    spark.draw(trendOf(found), !isGauge(family.kind))
  }
  return { node, button: toggle, update }
}

const isPart = ({ family, series }: Found): boolean => series.length < family.series.size

const countText = (found: Found): string => {
  const all = counted(found.family.lines, "series", "series")
  return isPart(found) ? `${found.lines.toLocaleString("en-US")} of ${all}` : all
}

// A sum of many different gauges says nothing, so its line is not drawn.
const trendOf = (found: Found): ReadonlyArray<number> => {
  const { family, series } = found
  if (!isPart(found)) return family.history?.all() ?? []
  return isGauge(family.kind) && series.length > 1 ? [] : historyOf(series)
}
