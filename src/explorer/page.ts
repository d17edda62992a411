/** The page: what the user has selected, what is shown, and when. */
import type { Choice } from "./choice.js"
import { arrange, button, byId, element, keepingFocus, literal, write } from "./dom.js"
import { type Found, found } from "./filter.js"
import { counted, formatted } from "./format.js"
import { List } from "./list.js"
import { type Look, Looking } from "./looking.js"
import { type Family, kinds } from "./model.js"
import { PromqlPanel } from "./promqlPanel.js"
import { fragmentOf, type State, stateOf } from "./state.js"
import { Store } from "./store.js"
import { themed } from "./theme.js"

const main = byId("main", HTMLElement)
const asking = byId("state", HTMLElement)
const raw = byId("raw", HTMLAnchorElement)
// Behind a proxy, the path of the page may lack the slash at its end, and relative links would resolve to the parent.
raw.href = new URL(raw.getAttribute("href") ?? "", location.origin + location.pathname.replace(/\/*$/, "/")).href
const search = byId("search", HTMLInputElement)
const changed = byId("changed", HTMLInputElement)
const sort = byId("sort", HTMLSelectElement)
const kindSelect = byId("kind", HTMLSelectElement)
const pauseButton = byId("pause", HTMLButtonElement)
const refreshButton = byId("refresh", HTMLButtonElement)
const status = byId("status", HTMLElement)
const trouble = byId("trouble", HTMLElement)
const summary = byId("summary", HTMLElement)
const collapse = byId("collapse", HTMLButtonElement)
const empty = byId("empty", HTMLElement)
const said = byId("said", HTMLElement)

const store = new Store()
let state: State = stateOf(location.hash)
let lastSeen: (Look & { readonly tag: "Seen" }) | undefined
let lastFailure: string | undefined
let lastTrouble = ""
// For screen readers: the result of a search, and errors. The numbers change all the time, so they are not announced.
let isToBeSaid = false
let lastProblems = ""

const panel = new PromqlPanel(main)
const list = new List(
  byId("families", HTMLElement),
  {
    toggle: (family) => toggle(family),
    choose: (family, choice) => choose(family, choice),
    copy: (copy, from) => panel.open(copy, from)
  },
  () => render()
)
// The URL comes from the server, in the document.
const looking = new Looking(raw.href, store, (look) => {
  if (look.tag === "Seen") lastSeen = look
  if (look.tag !== "Begun") lastFailure = look.tag === "Failed" ? look.message : undefined
  else asking.dataset["asking"] = "true"
  render()
})

const change = (next: Partial<State>): void => {
  state = { ...state, ...next }
  const fragment = fragmentOf(state)
  history.replaceState(null, "", fragment === "" ? location.pathname + location.search : fragment)
  render()
}

const searchFor = (next: Partial<State>): void => {
  list.reset()
  isToBeSaid = true
  change(next)
}

const toggle = ({ name }: Family): void => {
  const open = new Set(state.open)
  if (!open.delete(name)) open.add(name)
  change({ open })
}

const choose = ({ name }: Family, choice: Choice): void => {
  const choices = new Map(state.choices)
  // The latest choice is the last one.
  choices.delete(name)
  change({ choices: choices.set(name, choice) })
}

// Several changes are drawn once, in the next animation frame.
let isAsked = false
const render = (): void => {
  if (isAsked) return
  isAsked = true
  requestAnimationFrame(() => {
    isAsked = false
    keepingFocus(main, draw)
  })
}

const draw = (): void => {
  const all = found(store, state)
  list.show(all, state.open, state.choices)
  collapse.hidden = state.open.size === 0
  drawStatus()
  asking.dataset["asking"] = String(looking.isBusy)
  if (store.looks === 0) return
  main.removeAttribute("aria-busy")
  write(summary, summaryOf(all))
  if (isToBeSaid) write(said, summaryOf(all))
  isToBeSaid = false
  drawEmpty(all)
}

const summaryOf = (all: ReadonlyArray<Found>): string => {
  const { families, lines } = store
  const [allFamilies, allSeries] = [counted(families.size, "family", "families"), counted(lines, "series", "series")]
  if (!isFiltered()) return `${allFamilies}, ${allSeries}`
  const shown = all.reduce((sum, found) => sum + found.lines, 0)
  return `${all.length.toLocaleString("en-US")} of ${allFamilies}, ${shown.toLocaleString("en-US")} of ${allSeries}`
}

const isFiltered = (): boolean => state.query.trim() !== "" || state.kind !== undefined || state.changedOnly

const drawEmpty = (all: ReadonlyArray<Found>): void => {
  empty.hidden = all.length > 0
  if (all.length > 0) return
  const isNothing = store.families.size === 0
  const title = isNothing ? "There are no metrics yet" : "Nothing matches"
  if (empty.firstElementChild?.textContent === title) return
  const text = isNothing
    ? "They are shown here as soon as the application has made the first one."
    : "No family has all of these words in its name, its help or the labels of one series."
  const clear = button("plain", "Clear the filter", () => {
    search.value = ""
    changed.checked = false
    kindSelect.value = ""
    searchFor({ query: "", kind: undefined, changedOnly: false })
    search.focus()
  })
  arrange(empty, [element("h2", "", title), element("p", "", text), ...(isNothing ? [] : [clear])])
}

const timeOf = (at: Date): string => at.toLocaleTimeString("en-GB")

// The age of the numbers, if a worker serves them for an application that does not respond.
const ageOfNumbers = (): number => {
  const [series] = store.families.get("effect_prometheus_exposition_age_seconds")?.series.values() ?? []
  return series?.value ?? 0
}

const statusName = (): string => {
  if (looking.isPaused) return "paused"
  if (lastFailure !== undefined) return "failing"
  return lastSeen === undefined ? "waiting" : "live"
}

const statusText = (name: string): string => {
  if (lastSeen === undefined) return { paused: "Paused", failing: "No metrics yet" }[name] ?? "Asking for the metrics"
  const { at, characters, milliseconds } = lastSeen
  // It is visible even if the reason is out of view.
  if (name === "failing") return `Numbers of ${timeOf(at)}`
  const cost = `${formatted(milliseconds / 1e3, "seconds")}, ${formatted(characters, "bytes")}`
  return `${name === "paused" ? "Paused, " : ""}${timeOf(at)} · ${cost}`
}

const drawStatus = (): void => {
  const name = statusName()
  asking.className = `state ${name}`
  write(status, statusText(name))
  drawTrouble()
}

interface Problem {
  readonly kind: string
  readonly text: string
}

const problemsNow = (): ReadonlyArray<Problem> => {
  const age = ageOfNumbers()
  const old = `The application does not answer its worker: these numbers are ${formatted(age, "seconds")} old.`
  const unread = `${counted(store.unreadLines, "line", "lines")} could not be read.`
  return [
    ...(lastFailure === undefined ? [] : [{ kind: "failure", text: failureText(lastFailure) }]),
    ...(age > 5 ? [{ kind: "age", text: old }] : []),
    ...(store.unreadLines > 0 ? [{ kind: "unread", text: unread }] : [])
  ]
}

const drawTrouble = (): void => {
  const problems = problemsNow()
  const text = problems.map((problem) => problem.text).join(" ")
  trouble.hidden = text === ""
  if (text === lastTrouble) return
  lastTrouble = text
  trouble.replaceChildren(literal(text))
  const which = problems.map(({ kind }) => kind).join()
  if (which !== lastProblems) write(said, text === "" ? "All of the metrics are here again." : text)
  lastProblems = which
}

const failureText = (message: string): string => {
  const next = looking.isPaused ? "" : " Trying again."
  return lastSeen === undefined
    ? `${message}.${next}`
    : `${message}. The numbers are from ${timeOf(lastSeen.at)}.${next}`
}

const showControls = (): void => {
  search.value = state.query
  changed.checked = state.changedOnly
  sort.value = state.sort
  kindSelect.value = state.kind ?? ""
}

const pauseOrResume = (): void => {
  if (looking.isPaused) looking.resume()
  else looking.pause()
  write(pauseButton, looking.isPaused ? "Resume" : "Pause")
  render()
}

const onKey = (event: KeyboardEvent): void => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  const isTyping = event.target instanceof HTMLInputElement && event.target.type === "search"
  if (event.key === "/" && !isTyping) {
    event.preventDefault()
    search.focus()
    search.select()
  } else if (event.key === "Escape" && isTyping) {
    event.preventDefault()
    search.value = ""
    searchFor({ query: "" })
  }
}

themed(byId("theme", HTMLButtonElement))
for (const kind of kinds) kindSelect.append(new Option(kind, kind))
write(byId("host", HTMLElement), location.host)
// Distinguishes the tabs of several instances.
document.title = `${location.host} – Metrics`
search.addEventListener("input", () => searchFor({ query: search.value }))
changed.addEventListener("change", () => searchFor({ changedOnly: changed.checked }))
sort.addEventListener("change", () => searchFor({ sort: sort.value === "series" ? "series" : "name" }))
kindSelect.addEventListener("change", () => searchFor({ kind: kinds.find((kind) => kind === kindSelect.value) }))
pauseButton.addEventListener("click", pauseOrResume)
refreshButton.addEventListener("click", () => void looking.look())
collapse.addEventListener("click", () => change({ open: new Set() }))
addEventListener("hashchange", () => {
  state = stateOf(location.hash)
  showControls()
  render()
})
addEventListener("keydown", onKey)
showControls()
render()
void looking.look()
