/** The user's selection. It is in the fragment of the URL, so that it can be shared. */
import { longestQuery, type Wanted } from "./filter.js"
import { kinds } from "./store.js"

/** The filter, and the families that are open. */
export interface State extends Wanted {
  readonly open: ReadonlySet<string>
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
    open: new Set((given.get("open") ?? "").split(",").filter(Boolean))
  }
}

/** The fragment of a state; empty for the initial one. */
export const fragmentOf = ({ changedOnly, kind, open, query, sort }: State): string => {
  const parts = new URLSearchParams()
  if (query !== "") parts.set("q", query)
  if (kind !== undefined) parts.set("type", kind)
  if (changedOnly) parts.set("changed", "1")
  if (sort !== "name") parts.set("sort", sort)
  if (open.size > 0) parts.set("open", [...open].slice(0, mostOpen).join(","))
  const text = parts.toString().replaceAll("%2C", ",")
  return text === "" ? "" : `#${text}`
}
