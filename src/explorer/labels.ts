/** The labels of a series. */
import { element, literal } from "./dom.js"
import { counted } from "./format.js"
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
