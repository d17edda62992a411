/** The labels of a series. */
import { element, literal } from "./dom.js"
import type { Labels } from "./parse.js"

export const labelsNode = (labels: Labels): HTMLElement => {
  if (labels.length === 0) return element("span", "no-labels", "no labels")
  const made = element("span", "labels")
  for (const [name, value] of labels) {
    made.append(
      element(
        "span",
        "label",
        element("span", "label-name", literal(name)),
        element("span", "label-value", literal(value))
      )
    )
  }
  return made
}
