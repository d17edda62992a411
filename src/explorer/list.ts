/** The list of families. Only those that are shown have elements. */
import { type Card, card } from "./card.js"
import { arrange, button, write } from "./dom.js"
import type { Found } from "./filter.js"
import { counted } from "./format.js"
import type { Family } from "./store.js"

const step = 60

/** Shows families. */
export class List {
  private cards = new Map<Family, Card>()
  private limit = step
  private readonly more: HTMLButtonElement

  constructor(
    private readonly node: HTMLElement,
    private readonly onToggle: (family: Family) => void,
    onMore: () => void
  ) {
    this.more = button("more-button", "", () => {
      this.limit += step
      onMore()
    })
  }

  /** Starts at the top again. */
  reset(): void {
    this.limit = step
  }

  show(all: ReadonlyArray<Found>, open: ReadonlySet<string>): void {
    const cards = new Map<Family, Card>()
    for (const found of all.slice(0, this.limit)) {
      const { family } = found
      const shown = this.cards.get(family) ?? card(family, () => this.onToggle(family))
      cards.set(family, shown)
      shown.update(found, open.has(family.name))
    }
    this.cards = cards
    const nodes: Array<Node> = [...cards.values()].map(({ node }) => node)
    const rest = all.length - this.limit
    write(this.more, `Show ${Math.min(step, rest)} more of ${counted(all.length, "family", "families")}`)
    arrange(this.node, rest > 0 ? [...nodes, this.more] : nodes)
  }
}
