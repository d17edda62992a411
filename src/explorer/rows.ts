/** A table of the series of a counter, a gauge, or a family of unknown type. */
import { arrange, element, entitle, write } from "./dom.js"
import { exact, formatted, perSecond, type Unit } from "./format.js"
import { labelsNode } from "./labels.js"
import { sparkline } from "./sparkline.js"
import type { Family, Series } from "./store.js"

/** Shows some series of a family. */
export interface View {
  readonly node: HTMLElement
  readonly show: (series: ReadonlyArray<Series>) => void
}

interface Row {
  readonly node: HTMLElement
  readonly update: () => void
}

/** Rows for the series that are shown. */
export const keptRows = (parent: Node, make: (series: Series) => Row): ((series: ReadonlyArray<Series>) => void) => {
  let rows = new Map<Series, Row>()
  return (series) => {
    const next = new Map<Series, Row>()
    for (const one of series) next.set(one, rows.get(one) ?? make(one))
    rows = next
    arrange(
      parent,
      [...rows.values()].map(({ node }) => node)
    )
    for (const { update } of rows.values()) update()
  }
}

/** A table that is labelled by the element with that id. */
export const tableView = ({ kind }: Family, unit: Unit, labelledBy: string): View => {
  const isCounter = kind === "counter"
  const body = element("tbody", "")
  const heading = (text: string, className: string): HTMLElement => {
    const made = element("th", className, text)
    made.scope = "col"
    return made
  }
  const trend = heading("Trend", "trend")
  trend.setAttribute("aria-hidden", "true")
  const headings = [heading("Labels", ""), trend, heading("Value", "number")]
  if (isCounter) headings.push(heading("Per second", "number"))
  const node = element("table", "series", element("thead", "", element("tr", "", ...headings)), body)
  node.setAttribute("aria-labelledby", labelledBy)
  return { node, show: keptRows(body, (series) => row(series, unit, isCounter)) }
}

const row = (series: Series, unit: Unit, isCounter: boolean): Row => {
  const value = element("td", "number")
  const rate = element("td", "number rate")
  const spark = sparkline()
  const trend = element("td", "trend", spark.node)
  // It contains only the line.
  trend.setAttribute("aria-hidden", "true")
  const cells = [element("td", "", labelsNode(series.labels)), trend, value]
  const node = element("tr", "", ...cells, ...(isCounter ? [rate] : []))
  const update = (): void => {
    write(value, formatted(series.value, unit))
    entitle(value, exact(series.value))
    if (isCounter) write(rate, perSecond(series.rate, unit) || "–")
    node.classList.toggle("moves", series.hasChanged)
    spark.draw(series.history, isCounter)
  }
  return { node, update }
}
