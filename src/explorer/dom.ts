/**
 * Elements and their texts. What comes from the metrics becomes text and nothing else: there is no way here to make
 * markup, an address or a handler of it.
 */

/** What stands in an element. */
export type Child = Node | string

/** An element of ours, by a name that stands in the program. */
export const element = <K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className: string,
  ...children: ReadonlyArray<Child>
): HTMLElementTagNameMap[K] => {
  const made = document.createElement(tag)
  if (className !== "") made.className = className
  made.append(...children)
  return made
}

/** A button. */
export const button = (className: string, text: Child, onClick: () => void): HTMLButtonElement => {
  const made = element("button", className, text)
  made.type = "button"
  made.addEventListener("click", onClick)
  return made
}

/** An element of a drawing. */
export const drawn = <K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>>
): SVGElementTagNameMap[K] => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag)
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value)
  return made
}

/** Writes a text that may be the one that is there already. */
export const write = (node: Node, text: string): void => {
  if (node.textContent !== text) node.textContent = text
}

/** The same of a title. */
export const entitle = (node: HTMLElement, text: string): void => {
  if (node.title !== text) node.title = text
}

/** An element of the document, which has it. */
export const byId = <A extends HTMLElement>(id: string, kind: new () => A): A => {
  const node = document.getElementById(id)
  if (node instanceof kind) return node
  throw new Error(`there is no ${id}`)
}

/** The children of a node become these, in that order, those that stay are not touched. */
export const arrange = (parent: Node, children: ReadonlyArray<Node>): void => {
  const wanted = new Set(children)
  for (let node = parent.firstChild; node !== null; ) {
    const next: ChildNode | null = node.nextSibling
    if (!wanted.has(node)) parent.removeChild(node)
    node = next
  }
  let at = parent.firstChild
  for (const child of children) {
    if (child === at) at = at.nextSibling
    else parent.insertBefore(child, at)
  }
}

/**
 * Does something that may move or take away what has the focus. The focus stays where it is, or goes to `fallback`:
 * otherwise a keyboard user would be at the top of the page again.
 */
export const keepingFocus = (fallback: HTMLElement, act: () => void): void => {
  const focused = document.activeElement
  act()
  if (!(focused instanceof HTMLElement) || focused === document.body) return
  const isThere = focused.checkVisibility()
  if (isThere && document.activeElement === focused) return
  const next = isThere ? focused : fallback
  next.focus({ preventScroll: true })
}

// So much of a text is shown.
const longest = 300

// What cannot be seen, or changes the order in which its neighbours are read.
const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu

const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** A text from an exposition, made visible: invisible characters are named, and a long text is cut. */
export const literal = (text: string): HTMLElement => {
  // Its direction is its own.
  const made = document.createElement("bdi")
  const shown = text.length > longest ? text.slice(0, longest) : text
  let from = 0
  for (const found of shown.matchAll(hidden)) {
    made.append(shown.slice(from, found.index))
    const code = found[0].codePointAt(0) ?? 0
    const name = named[found[0]] ?? `U+${code.toString(16).toUpperCase().padStart(4, "0")}`
    made.append(element("span", "hidden-character", name))
    from = found.index + found[0].length
  }
  made.append(shown.slice(from))
  if (shown !== text) made.append(element("span", "cut", `… ${text.length.toLocaleString("en-US")} characters`))
  return made
}
