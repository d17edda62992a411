/** What the user can do with a family. */
import type { Choice } from "./choice.js"
import type { Family } from "./model.js"
import type { Expression } from "./promql.js"

/** Expressions to copy, and what they leave out. */
export interface Copy {
  readonly expressions: ReadonlyArray<Expression>
  /** The one that is copied. */
  readonly first: Expression | undefined
  /** Empty if they leave nothing out. */
  readonly note: string
}

/** The page does these. */
export interface Actions {
  /** Opens or closes a family. */
  readonly toggle: (family: Family) => void
  /** Shows the rows of a family in another way. */
  readonly choose: (family: Family, choice: Choice) => void
  /** Copies one expression, and offers the others; the focus returns to `from`. */
  readonly copy: (copy: Copy, from: HTMLElement) => void
}
