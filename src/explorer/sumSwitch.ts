/** Chooses the labels by which the series of a family are summed. */
import { arrange, button, element, literal } from "./dom.js"

/** One button for each label. */
export const sumSwitch = (onChoice: (by: ReadonlyArray<string>) => void) => {
  let chosen: ReadonlyArray<string> = []
  let buttons = new Map<string, HTMLButtonElement>()
  const caption = element("span", "", "Sum by")
  const node = element("div", "choices", caption)
  node.setAttribute("role", "group")
  node.setAttribute("aria-label", "Sum by")
  const made = (name: string): HTMLButtonElement =>
    button("chip", literal(name), () =>
      onChoice(chosen.includes(name) ? chosen.filter((other) => other !== name) : [...chosen, name])
    )
  const show = (names: ReadonlyArray<string>, by: ReadonlyArray<string>): void => {
    chosen = by
    buttons = new Map(names.map((name) => [name, buttons.get(name) ?? made(name)]))
    for (const [name, one] of buttons) one.setAttribute("aria-pressed", String(by.includes(name)))
    arrange(node, [caption, ...buttons.values()])
  }
  return { node, show }
}
