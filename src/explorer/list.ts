/** The list of families. Only those that are shown have elements. */
import type { Actions } from "./actions.js"
import { type Card, card } from "./card.js"
import { type Choice, initialChoice } from "./choice.js"
import { arrange, button, write } from "./dom.js"
import type { Found } from "./filter.js"
import { counted } from "./format.js"
import type { Family } from "./model.js"

const step = 60

/** Shows families. */
export class List {
  private cards = new Map<Family, Card>()
  private limit = step
  private readonly more: HTMLButtonElement

  constructor(
    private readonly node: HTMLElement,
    private readonly actions: Actions,
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

  show(all: ReadonlyArray<Found>, open: ReadonlySet<string>, choices: ReadonlyMap<string, Choice>): void {
    const cards = new Map<Family, Card>()
    for (const found of all.slice(0, this.limit)) {
      const { family } = found
      const shown = this.cards.get(family) ?? card(family, this.actions)
      cards.set(family, shown)
      shown.update(found, open.has(family.name) ? (choices.get(family.name) ?? initialChoice) : undefined)
    }
    this.cards = cards
    const nodes: Array<Node> = [...cards.values()].map(({ node }) => node)
    const rest = all.length - this.limit
    write(this.more, `Show ${Math.min(step, rest)} more of ${counted(all.length, "family", "families")}`)
    arrange(this.node, rest > 0 ? [...nodes, this.more] : nodes)
  }
}
