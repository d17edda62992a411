/** Copies expressions of PromQL, and shows them. */
import type { Copy } from "./actions.js"
import { button, byId, drawn, write } from "./dom.js"
import type { Expression } from "./promql.js"

let lastId = 0

/** A small button that copies the row with these labels, which are part of its name. */
export const copyIcon = (labels: HTMLElement, onClick: (from: HTMLElement) => void): HTMLButtonElement => {
  const icon = drawn("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" })
  icon.append(drawn("path", { d: "M6 5.5h7.5v8H6zM3.5 10.5h-1v-8H10v1" }))
  const made = button("copy-icon", icon, () => onClick(made))
  made.setAttribute("aria-label", "Copy as PromQL")
  made.title = "Copy as PromQL"
  lastId += 1
  made.id = `copy-${lastId}`
  labels.id = `${made.id}-labels`
  made.setAttribute("aria-labelledby", `${made.id} ${labels.id}`)
  return made
}

const copied = "Copied as PromQL."
// Browsers have no clipboard for a page that is served without TLS by another machine.
const notCopied = "The clipboard is not available to this page. Copy the selected text."

/** The panel at the bottom of the page. */
export class PromqlPanel {
  private readonly node = byId("promql", HTMLElement)
  private readonly status = byId("promql-status", HTMLElement)
  private readonly kinds = byId("promql-kinds", HTMLElement)
  private readonly field = byId("promql-text", HTMLTextAreaElement)
  private from: HTMLElement | undefined

  constructor(private readonly fallback: HTMLElement) {
    byId("promql-close", HTMLButtonElement).addEventListener("click", () => this.close())
    this.node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return
      event.preventDefault()
      this.close()
    })
  }

  /** Copies one expression, and offers the others. */
  open({ expressions, first, note }: Copy, from: HTMLElement): void {
    this.from = from
    this.node.hidden = false
    const buttons = expressions.map((expression) => {
      const made = button("", expression.name, () => void this.copy(expression, note, buttons))
      return made
    })
    this.kinds.replaceChildren(...buttons)
    this.kinds.hidden = buttons.length < 2
    if (first !== undefined) void this.copy(first, note, buttons)
  }

  private async copy(expression: Expression, note: string, buttons: ReadonlyArray<HTMLElement>): Promise<void> {
    const { name, text } = expression
    for (const one of buttons) one.setAttribute("aria-pressed", String(one.textContent === name))
    this.field.value = text
    this.field.focus({ preventScroll: true })
    this.field.select()
    const isCopied = await written(text)
    // Another one may have been copied since.
    if (this.field.value === text) write(this.status, [isCopied ? copied : notCopied, note].filter(Boolean).join(" "))
  }

  private close(): void {
    this.node.hidden = true
    const next = this.from?.isConnected === true && this.from.checkVisibility() ? this.from : this.fallback
    next.focus({ preventScroll: true })
  }
}

const written = async (text: string): Promise<boolean> => {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return false
  }
}
