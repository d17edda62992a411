/** A family: a line that summarizes it, and its series below the line when it is open. */
import { distributionView, observedByAll, type Span } from "./distribution.js"
import { arrange, button, drawn, element, entitle, keepingFocus, literal, write } from "./dom.js"
import type { Found } from "./filter.js"
import { counted, earliest, exact, formatted, perSecond, type Unit, unitOf } from "./format.js"
import { quantileOf } from "./quantile.js"
import { tableView, type View } from "./rows.js"
import { sparkline } from "./sparkline.js"
import type { Family } from "./store.js"

/** A family in the list. */
export interface Card {
  readonly node: HTMLElement
  readonly update: (found: Found, isOpen: boolean) => void
}

interface Summary {
  readonly text: string
  readonly title: string
  readonly more: string
}

let lastId = 0

/** A card. It calls `onToggle` when the user opens or closes it. */
export const card = (family: Family, onToggle: () => void): Card => {
  const unit = unitOf(family.name, family.kind)
  const head = headOf(family, unit, onToggle)
  const body = element("div", "body")
  body.id = `${head.button.id}-series`
  head.button.setAttribute("aria-controls", body.id)
  const node = element("section", "family", head.node, body)
  let inside: ((found: Found) => void) | undefined
  const update = (found: Found, isOpen: boolean): void => {
    head.update(found)
    head.button.setAttribute("aria-expanded", String(isOpen))
    node.classList.toggle("open", isOpen)
    body.hidden = !isOpen
    if (!isOpen && inside !== undefined) {
      body.replaceChildren()
      inside = undefined
    }
    if (!isOpen) return
    inside ??= insideOf(body, head.button, family, unit)
    inside(found)
  }
  return { node, update }
}

const headOf = (family: Family, unit: Unit, onToggle: () => void) => {
  const help = element("span", "help")
  const count = element("span", "count")
  const value = element("span", "value")
  const more = element("span", "more")
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
    element("span", "summary", value, more)
  )
  // The whole line can be clicked.
  node.addEventListener("click", onToggle)
  let helped: string | undefined
  const update = ({ series }: Found): void => {
    if (family.help !== helped) {
      helped = family.help
      help.replaceChildren(literal(helped))
    }
    const all = counted(family.lines, "series", "series")
    write(
      count,
      series.length === family.series.size ? all : `${series.length} of ${counted(family.series.size, "set", "sets")}`
    )
    const summary = summaryOf(family, unit)
    write(value, summary.text)
    entitle(value, summary.title)
    write(more, summary.more)
    spark.draw(family.history, family.kind !== "gauge" && family.kind !== "untyped")
  }
  return { node, button: toggle, update }
}

const summaryOf = (family: Family, unit: Unit): Summary => {
  const [only] = family.series.values()
  if (only === undefined) return { text: "–", title: "", more: "no series yet" }
  const { kind, series, total } = family
  if (kind === "counter") {
    let sum = 0
    for (const { value } of series.values()) sum += value
    return { text: formatted(sum, unit), title: exact(sum), more: perSecond(total, unit) }
  }
  if (kind === "histogram") {
    const { buckets, count } = observedByAll(series.values(), "start")
    const median = quantileOf(0.5, buckets)
    const high = quantileOf(0.99, buckets)
    if (Number.isNaN(median))
      return { text: counted(count, "observation", "observations"), title: exact(count), more: "" }
    const text = `${formatted(median, unit)} – ${formatted(high, unit)}`
    return {
      text,
      title: `p50 – p99: ${exact(median)} – ${exact(high)}`,
      more: withRate("p50 – p99 since start", total)
    }
  }
  if (kind === "summary") {
    const { count, sum } = observedByAll(series.values(), "start")
    const mean = sum / count
    const text = Number.isNaN(mean) ? "–" : formatted(mean, unit)
    return { text, title: exact(mean), more: withRate("mean since start", total) }
  }
  if (series.size === 1)
    return { text: formatted(only.value, unit), title: exact(only.value), more: ageOf(only.value, unit) }
  return rangeOf(family, unit)
}

const withRate = (what: string, rate: number): string => [what, perSecond(rate, "none")].filter(Boolean).join(", ")

// A point in time is shown with its age.
const ageOf = (value: number, unit: Unit): string => {
  const age = Date.now() / 1e3 - value
  return unit === "timestamp" && value >= earliest && age > 0 ? `${formatted(age, "seconds")} ago` : ""
}

const rangeOf = ({ series }: Family, unit: Unit): Summary => {
  let least = Number.POSITIVE_INFINITY
  let most = Number.NEGATIVE_INFINITY
  let numbers = 0
  for (const { value } of series.values()) {
    if (value < least) least = value
    if (value > most) most = value
    if (!Number.isNaN(value)) numbers += 1
  }
  if (numbers === 0) return { text: "NaN", title: "", more: "each" }
  const isOne = least === most
  const text = isOne ? formatted(most, unit) : `${formatted(least, unit)} – ${formatted(most, unit)}`
  const rest = numbers === series.size ? [] : [counted(series.size - numbers, "NaN", "NaN")]
  const more = [isOne ? "each" : "lowest – highest", ...rest].join(", ")
  return { text, title: `${exact(least)} – ${exact(most)}`, more }
}

// How many are shown at once: rows are small, distributions are large.
const steps = { rows: 50, distributions: 8 }

const insideOf = (body: HTMLElement, title: HTMLElement, family: Family, unit: Unit): ((found: Found) => void) => {
  const isDistribution = family.kind === "histogram" || family.kind === "summary"
  const step = isDistribution ? steps.distributions : steps.rows
  let limit = step
  let span: Span = "start"
  let last: Found | undefined
  const again = (): void => {
    if (last !== undefined) show(last)
  }
  const spans = spanSwitch((chosen) => {
    span = chosen
    again()
  })
  const view: View = isDistribution ? distributionView(family, unit, () => span) : tableView(family, unit, title.id)
  const none = element("p", "none", "No series yet. They come with the first measurement.")
  const more = button("more-button", "", () => {
    limit += step
    keepingFocus(title, again)
  })
  const show = (found: Found): void => {
    last = found
    const { series } = found
    const rest = series.length - limit
    write(more, `Show ${Math.min(step, rest)} more of ${counted(series.length, "series", "series")}`)
    const parts = series.length === 0 ? [none] : [...(isDistribution ? [spans] : []), view.node]
    arrange(body, rest > 0 ? [...parts, more] : parts)
    view.show(series.slice(0, limit))
  }
  return show
}

const spanSwitch = (onChoice: (span: Span) => void): HTMLElement => {
  const choices: ReadonlyArray<readonly [Span, string]> = [
    ["start", "Since the start"],
    ["open", "While this page is open"]
  ]
  const node = element("div", "switch")
  node.setAttribute("role", "group")
  node.setAttribute("aria-label", "Observations")
  const buttons = choices.map(([span, text]) => {
    const made = button("", text, () => {
      for (const one of buttons) one.setAttribute("aria-pressed", String(one === made))
      onChoice(span)
    })
    made.setAttribute("aria-pressed", String(span === "start"))
    return made
  })
  node.append(...buttons)
  return node
}
