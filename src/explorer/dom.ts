/**
 * Elements and their texts. Data from the metrics becomes text only: no function here can make markup, a URL or a
 * handler from it.
 */

/** The content of an element. */
export type Child = Node | string

/** An element whose name is a constant of the program. */
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

/** Writes a text if it has changed. */
export const write = (node: Node, text: string): void => {
  if (node.textContent !== text) node.textContent = text
}

/** The same for a title. */
export const entitle = (node: HTMLElement, text: string): void => {
  if (node.title !== text) node.title = text
}

/** An element that exists in the document. */
export const byId = <A extends HTMLElement>(id: string, kind: new () => A): A => {
  const node = document.getElementById(id)
  if (node instanceof kind) return node
  throw new Error(`there is no ${id}`)
}

/** Replaces the children of a node by `children`, in this order. Nodes that stay are not touched. */
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
 * Runs a change that may move or remove the focused element. The focus stays, or moves to `fallback`: otherwise a
 * keyboard user would start at the top of the page again.
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

// The length, in characters, after which a text is cut.
const longest = 300

// Characters that are invisible, or that change the order of their neighbours.
const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu

const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** A text from an exposition, made visible: invisible characters are named, and a long text is cut. */
export const literal = (text: string): HTMLElement => {
  // Its direction does not affect the text around it.
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
