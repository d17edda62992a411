/** Chooses the time of the observations. */
import { button, element } from "./dom.js"
import type { Span } from "./observations.js"

const choices: ReadonlyArray<readonly [Span, string]> = [
  ["minute", "Last minute"],
  ["start", "Since the start"],
  ["open", "While this page is open"]
]

/** One button for each time. */
export const spanSwitch = (onChoice: (span: Span) => void) => {
  const buttons = choices.map(([span, text]) => ({ span, node: button("", text, () => onChoice(span)) }))
  const node = element("div", "switch", ...buttons.map((one) => one.node))
  node.setAttribute("role", "group")
  node.setAttribute("aria-label", "Observations")
  const show = (span: Span): void => {
    for (const one of buttons) one.node.setAttribute("aria-pressed", String(one.span === span))
  }
  return { node, show }
}
