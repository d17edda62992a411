/** The labels of a series. */
import { element, literal, write } from "./dom.js"
import { counted } from "./format.js"
import type { Group } from "./groups.js"
import type { Labels } from "./parse.js"

// More would not be readable, and very long ones would make the page slow.
const most = 50

/** The labels beside each other. */
export const labelsNode = (labels: Labels): HTMLElement => {
  if (labels.length === 0) return element("span", "no-labels", "no labels")
  const made = element("span", "labels")
  for (const [name, value] of labels.slice(0, most)) {
    made.append(
      element(
        "span",
        "label",
        element("span", "label-name", literal(name)),
        element("span", "label-value", literal(value))
      )
    )
  }
  const rest = labels.length - most
  if (rest > 0) made.append(element("span", "cut", `… ${counted(rest, "label", "labels")} more`))
  return made
}

/** The labels of a row, and for a sum the number of its series. */
export const groupLabels = ({ labels, key, series: [first] }: Group) => {
  const count = element("span", "of")
  const node = element("span", "row-labels", labelsNode(labels), ...(key === first ? [] : [count]))
  const update = ({ series }: Group): void => write(count, counted(series.length, "series", "series"))
  return { node, update }
}
