/** The user's selection. It is in the fragment of the URL, so that it can be shared. */
import { type Choice, choiceOf, choiceText } from "./choice.js"
import { longestQuery, type Wanted } from "./filter.js"
import { kinds } from "./model.js"

/** The filter, the families that are open, and how their rows are shown. */
export interface State extends Wanted {
  readonly open: ReadonlySet<string>
  /** By the name of the family. */
  readonly choices: ReadonlyMap<string, Choice>
}

// A URL of a few thousand characters can still be sent.
const mostOpen = 30

/** The state in a fragment, without its invalid parts. */
export const stateOf = (fragment: string): State => {
  const given = new URLSearchParams(fragment.replace(/^#/, ""))
  return {
    query: (given.get("q") ?? "").slice(0, longestQuery),
    kind: kinds.find((kind) => kind === given.get("type")),
    changedOnly: given.get("changed") === "1",
    sort: given.get("sort") === "series" ? "series" : "name",
    open: new Set((given.get("open") ?? "").split(",").filter(Boolean)),
    choices: new Map(given.getAll("view").slice(0, mostOpen).map(choiceOf))
  }
}

/** The fragment of a state; empty for the initial one. */
export const fragmentOf = ({ changedOnly, choices, kind, open, query, sort }: State): string => {
  const parts = new URLSearchParams()
  if (query !== "") parts.set("q", query)
  if (kind !== undefined) parts.set("type", kind)
  if (changedOnly) parts.set("changed", "1")
  if (sort !== "name") parts.set("sort", sort)
  if (open.size > 0) parts.set("open", [...open].slice(0, mostOpen).join(","))
  const views = [...choices].map(([name, choice]) => choiceText(name, choice)).filter(Boolean)
  // The latest ones, if they are too many.
  for (const view of views.slice(-mostOpen)) parts.append("view", view)
  const text = parts.toString().replaceAll("%2C", ",").replaceAll("%3A", ":")
  return text === "" ? "" : `#${text}`
}
