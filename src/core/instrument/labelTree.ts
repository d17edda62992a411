type Level<A> = Map<string | number, Level<A> | A>

/**
 * Caches what belongs to a list of label values. It is found without building a text. All lists have the same length, which
 * is not 0. When `most` are cached, it begins anew: a label may have unlimited values.
 */
export class LabelTree<A extends object> {
  private root: Level<A> = new Map()
  private count = 0

  constructor(private readonly most: number) {}

  get(values: ReadonlyArray<string | number>): A | undefined {
    let level: Level<A> | A | undefined = this.root
    for (let at = 0; at < values.length; at += 1) {
      level = (level as Level<A>).get(values[at] as string | number)
      if (level === undefined) return undefined
    }
    return level as A
  }

  set(values: ReadonlyArray<string | number>, found: A): void {
    if (this.count >= this.most) this.clear()
    this.count += 1
    let level = this.root
    for (const value of values.slice(0, -1)) {
      let next = level.get(value) as Level<A> | undefined
      if (next === undefined) {
        next = new Map()
        level.set(value, next)
      }
      level = next
    }
    level.set(values.at(-1) as string | number, found)
  }

  clear(): void {
    this.root = new Map()
    this.count = 0
  }
}
