/** How the rows of a family are shown, and how a link says it. */

import { spans } from "./observations.js"
import { type Column, columns, type RowOrder } from "./order.js"

/** The user's choice for one family. */
export interface Choice extends RowOrder {
  /** The labels that a sum keeps; without them, each series has a row. */
  readonly by: ReadonlyArray<string>
}

export const initialChoice: Choice = { by: [], column: "labels", isDescending: false, span: "minute" }

/** A click on a column: its usual direction, or the other one if it is chosen already. */
export const sortedBy = (choice: Choice, column: Column): Choice => {
  const isDescending = choice.column === column ? !choice.isDescending : column !== "labels"
  return { ...choice, column, isDescending }
}

// A label that a link names is one that a family can have.
const mostLabels = 20

/** A choice as text, with the name of its family; empty for the initial one. No part of it contains a space. */
export const choiceText = (name: string, { by, column, isDescending, span }: Choice): string => {
  const parts = [
    ...(column === "labels" && !isDescending ? [] : [`${isDescending ? "-" : ""}${column}`]),
    ...(span === "minute" ? [] : [span]),
    ...(by.length === 0 ? [] : [`by:${by.join(",")}`])
  ]
  return parts.length === 0 ? "" : [name, ...parts].join(" ")
}

/** The same choice from the text, without its invalid parts. */
export const choiceOf = (text: string): readonly [name: string, choice: Choice] => {
  const [name = "", ...parts] = text.split(" ")
  let choice = initialChoice
  for (const part of parts) {
    const isDescending = part.startsWith("-")
    const column = columns.find((known) => known === part.replace(/^-/, ""))
    const span = spans.find((known) => known === part)
    if (column !== undefined) choice = { ...choice, column, isDescending }
    else if (span !== undefined) choice = { ...choice, span }
    else if (part.startsWith("by:"))
      choice = { ...choice, by: part.slice(3).split(",").filter(Boolean).slice(0, mostLabels) }
  }
  return [name, choice]
}
