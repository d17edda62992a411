/** Named numbers, as a list of descriptions. */
import { arrange, element, entitle, write } from "./dom.js"
import { exact, formatted, type Unit } from "./format.js"

/** A named number. */
export interface Statistic {
  readonly name: string
  readonly text: string
  readonly title: string
}

/** A number with its unit; a dash without observations, of which there is no quantile and no mean. */
export const valued = (name: string, value: number, unit: Unit): Statistic => ({
  name,
  text: Number.isNaN(value) ? "–" : formatted(value, unit),
  title: exact(value)
})

/** Named numbers beside each other. */
export const statistics = () => {
  const node = element("dl", "statistics")
  const parts: Array<{ readonly name: HTMLElement; readonly value: HTMLElement; readonly node: HTMLElement }> = []
  const show = (all: ReadonlyArray<Statistic>): void => {
    while (parts.length < all.length) {
      const name = element("dt", "")
      const value = element("dd", "")
      parts.push({ name, value, node: element("div", "", name, value) })
    }
    parts.length = all.length
    arrange(
      node,
      parts.map((part) => part.node)
    )
    all.forEach(({ name, text, title }, index) => {
      const part = parts[index]
      if (part === undefined) return
      write(part.name, name)
      write(part.value, text)
      entitle(part.value, title)
    })
  }
  return { node, show }
}
