/** A table of the rows of a counter, a gauge, or a family of unknown type. */
import type { Choice } from "./choice.js"
import { arrange, element, entitle, write } from "./dom.js"
import { historyOf, rateOf, totalOf } from "./figures.js"
import { exact, formatted, perSecond, type Unit } from "./format.js"
import type { Group } from "./groups.js"
import { groupLabels } from "./labels.js"
import type { Kind } from "./model.js"
import { type Column, columnsOf } from "./order.js"
import { copyIcon } from "./promqlPanel.js"
import { columnButton } from "./sortSwitch.js"
import { sparkline } from "./sparkline.js"

/** Shows some rows of a family. */
export interface View {
  readonly node: HTMLElement
  readonly show: (groups: ReadonlyArray<Group>, choice: Choice) => void
}

/** What the user can do with the rows. */
export interface RowActions {
  readonly sort: (column: Column) => void
  readonly copy: (group: Group, from: HTMLElement) => void
}

/** The elements of one row. */
export interface Row {
  readonly node: HTMLElement
  readonly update: (group: Group) => void
}

/** Elements for the rows that are shown. */
export const keptRows = (parent: Node, make: (group: Group) => Row): ((groups: ReadonlyArray<Group>) => void) => {
  let rows = new Map<unknown, Row>()
  return (groups) => {
    const next = new Map<unknown, Row>()
    for (const group of groups) next.set(group.key, rows.get(group.key) ?? make(group))
    rows = next
    arrange(
      parent,
      [...rows.values()].map(({ node }) => node)
    )
    for (const group of groups) rows.get(group.key)?.update(group)
  }
}

/** A table that is labelled by the element with that id. */
export const tableView = (kind: Kind, unit: Unit, labelledBy: string, actions: RowActions): View => {
  const body = element("tbody", "")
  const headings = columnsOf[kind].map((column) => sortable(column, actions))
  const [labels, ...numbers] = headings.map(({ node }) => node)
  const trend = heading("trend", "Trend")
  trend.setAttribute("aria-hidden", "true")
  const copy = heading("copy", element("span", "unseen", "PromQL"))
  const cells = [...(labels === undefined ? [] : [labels]), trend, ...numbers, copy]
  const node = element("table", "series", element("thead", "", element("tr", "", ...cells)), body)
  node.setAttribute("aria-labelledby", labelledBy)
  const showRows = keptRows(body, (group) => row(kind, unit, group, actions))
  const show: View["show"] = (groups, choice) => {
    for (const one of headings) one.show(choice)
    showRows(groups)
  }
  return { node, show }
}

const heading = (className: string, child: Node | string): HTMLElement => {
  const made = element("th", className, child)
  made.scope = "col"
  return made
}

const titles: Readonly<Partial<Record<Column, string>>> = { labels: "Labels", value: "Value", rate: "Per second" }

const sortable = (column: Column, actions: RowActions) => {
  const button = columnButton(titles[column] ?? column, () => actions.sort(column))
  const node = heading(column === "labels" ? "" : "number", button)
  const show = (choice: Choice): void => {
    if (choice.column === column) node.setAttribute("aria-sort", choice.isDescending ? "descending" : "ascending")
    else node.removeAttribute("aria-sort")
  }
  return { node, show }
}

const row = (kind: Kind, unit: Unit, first: Group, actions: RowActions): Row => {
  const isCounter = kind === "counter"
  let current = first
  const labels = groupLabels(first)
  const value = element("td", "number")
  const rate = element("td", "number rate")
  const spark = sparkline()
  const trend = element("td", "trend", spark.node)
  // It contains only the line.
  trend.setAttribute("aria-hidden", "true")
  const copy = element(
    "td",
    "copy",
    copyIcon(labels.node, (from) => actions.copy(current, from))
  )
  const cells = [element("td", "", labels.node), trend, value, ...(isCounter ? [rate] : []), copy]
  const node = element("tr", "", ...cells)
  const update = (group: Group): void => {
    current = group
    const { series } = group
    const sum = totalOf(series)
    labels.update(group)
    write(value, formatted(sum, unit))
    entitle(value, exact(sum))
    if (isCounter) write(rate, perSecond(rateOf(series), unit) || "–")
    node.classList.toggle(
      "moves",
      series.some(({ hasChanged }) => hasChanged)
    )
    spark.draw(historyOf(series), isCounter)
  }
  return { node, update }
}
