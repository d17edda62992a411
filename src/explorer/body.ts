/** The series of a family that is open: rows, their order and their sums. */
import type { Actions } from "./actions.js"
import { type Choice, sortedBy } from "./choice.js"
import { distributionView, type ShownSpan } from "./distribution.js"
import { arrange, button, element, keepingFocus, write } from "./dom.js"
import type { Found } from "./filter.js"
import { counted, type Unit } from "./format.js"
import { type Group, groupsOf, summableBy } from "./groups.js"
import { type Family, isDistribution } from "./model.js"
import { notesOf } from "./notes.js"
import type { Span } from "./observations.js"
import { columnsOf, firstOf } from "./order.js"
import { copyOfFamily, copyOfRow } from "./promqlOfRows.js"
import { type RowActions, tableView } from "./rows.js"
import { sortSwitch } from "./sortSwitch.js"
import { spanSwitch } from "./spanSwitch.js"
import { sumSwitch } from "./sumSwitch.js"

// How many are shown at once: rows are small, distributions are large.
const steps = { rows: 50, distributions: 8 }

/** What is shown at the moment. */
interface Shown {
  readonly found: Found
  /** What the user wants. */
  readonly wanted: Choice
  /** The same without what this family does not have. */
  readonly choice: Choice
}

/** Shows the series in `body`, which is labelled by `title`. */
export const bodyView = (body: HTMLElement, title: HTMLElement, family: Family, unit: Unit, actions: Actions) => {
  const { kind } = family
  const step = isDistribution(kind) ? steps.distributions : steps.rows
  let limit = step
  let shown: Shown | undefined
  const now = <A>(act: (shown: Shown) => A): A | undefined => (shown === undefined ? undefined : act(shown))
  const change = (next: (choice: Choice) => Choice): void =>
    void now(({ wanted }) => actions.choose(family, next(wanted)))
  const rowActions: RowActions = {
    sort: (column) => change((choice) => sortedBy(choice, column)),
    copy: (group, from) => void now(({ found, choice }) => actions.copy(copyOfRow(found, choice.by, group), from))
  }
  const span = (): ShownSpan => ({ span: shown?.choice.span ?? "start", window: shown?.found.window ?? 0 })
  const view = isDistribution(kind)
    ? distributionView(kind, unit, span, rowActions)
    : tableView(kind, unit, title.id, rowActions)
  const bar = toolbar(family, unit, rowActions, change, (from) =>
    now(({ found, choice }) => actions.copy(copyOfFamily(found, choice.by), from))
  )
  const none = element("p", "none", "No series yet. They come with the first measurement.")
  const notes = element("p", "note")
  const more = button("more-button", "", () => {
    limit += step
    keepingFocus(title, () => now(({ found, wanted }) => show(found, wanted)))
  })
  const show = (found: Found, wanted: Choice): void => {
    const choice = possible(wanted, found, unit)
    shown = { found, wanted, choice }
    const groups = groupsOf(found.series, choice.by)
    const note = notesOf(found, wanted.span, choice.by)
    write(notes, note)
    write(more, moreText(groups.length, limit, step, family, choice))
    bar.show(wanted.span, choice, found, groups)
    const rows = [...bar.nodes(), ...(note === "" ? [] : [notes]), view.node, ...(groups.length > limit ? [more] : [])]
    arrange(body, groups.length === 0 ? [none] : rows)
    view.show(firstOf(groups, choice, limit), choice)
  }
  return show
}

const possible = (choice: Choice, { family, window }: Found, unit: Unit): Choice => {
  const names = choice.by.length === 0 ? [] : labelsToSum(family, unit)
  const hasColumn = columnsOf[family.kind].includes(choice.column)
  return {
    by: names.filter((name) => choice.by.includes(name)),
    column: hasColumn ? choice.column : "labels",
    isDescending: hasColumn && choice.isDescending,
    // There is nothing to compare the first exposition with.
    span: choice.span === "minute" && window === 0 ? "start" : choice.span
  }
}

// Points in time have no sum.
const labelsToSum = ({ series }: Family, unit: Unit): ReadonlyArray<string> =>
  unit === "timestamp" ? [] : summableBy([...series.values()])

const toolbar = (
  family: Family,
  unit: Unit,
  { sort }: RowActions,
  change: (next: (choice: Choice) => Choice) => void,
  onCopy: (from: HTMLElement) => void
) => {
  const sums = sumSwitch((by) => change((choice) => ({ ...choice, by })))
  const sorts = sortSwitch(family.kind, sort)
  const spans = spanSwitch((span) => change((choice) => ({ ...choice, span })))
  const copy = button("plain", "Copy as PromQL", () => onCopy(copy))
  const first = element("div", "toolbar")
  const second = element("div", "toolbar")
  const show = (span: Span, choice: Choice, { series }: Found, groups: ReadonlyArray<Group>): void => {
    const names = labelsToSum(family, unit)
    const isObserved = isDistribution(family.kind)
    const isSortable = isObserved && (groups.length > 1 || choice.by.length > 0)
    sums.show(names, choice.by)
    sorts.show(choice)
    spans.show(span)
    const isSummable = names.length > 0 && (series.length > 1 || choice.by.length > 0)
    const rows = [...(isSummable ? [sums.node] : []), ...(isSortable ? [sorts.node] : [])]
    // The heading of a table sorts it, so one line is enough.
    arrange(first, isObserved ? [spans.node, copy] : [...rows, copy])
    arrange(second, isObserved ? rows : [])
  }
  return { nodes: () => [first, second].filter((node) => node.hasChildNodes()), show }
}

const moreText = (count: number, limit: number, step: number, { kind }: Family, { by }: Choice): string => {
  const isSeries = by.length === 0 && !isDistribution(kind)
  const all = isSeries ? counted(count, "series", "series") : counted(count, "label set", "label sets")
  return `Show ${Math.min(step, count - limit)} more of ${all}`
}
