/** Buttons that sort the rows of a family. */
import type { Choice } from "./choice.js"
import { button, element, write } from "./dom.js"
import type { Kind } from "./model.js"
import { type Column, columnsOf } from "./order.js"

/** A button in the heading of a column. */
export const columnButton = (text: string, onSort: () => void): HTMLButtonElement =>
  button("column-button", text, onSort)

const titles: { readonly [C in Column]: string } = {
  labels: "labels",
  p99: "p99",
  mean: "mean",
  value: "count",
  rate: "per second"
}

/** The same for rows that are not in a table. */
export const sortSwitch = (kind: Kind, onSort: (column: Column) => void) => {
  const buttons = columnsOf[kind].map((column) => {
    const direction = element("span", "unseen")
    const node = columnButton(titles[column], () => onSort(column))
    node.append(direction)
    return { column, direction, node }
  })
  const node = element("div", "choices", element("span", "", "Sort by"), ...buttons.map((one) => one.node))
  node.setAttribute("role", "group")
  node.setAttribute("aria-label", "Sort by")
  const show = (choice: Choice): void => {
    for (const one of buttons) {
      const isChosen = one.column === choice.column
      one.node.setAttribute("aria-pressed", String(isChosen))
      const direction = choice.isDescending ? "descending" : "ascending"
      one.node.dataset["sort"] = isChosen ? direction : ""
      write(one.direction, isChosen ? `, ${direction}` : "")
    }
  }
  return { node, show }
}
