/**
 * Renders of a registry that several scrapes share. Whatever families they ask for, and however long they wait, those who
 * ask at the same time for the same format are answered from one render: each gets its families cut out of it as soon as
 * they are written, or what there is of them when its time is over.
 */
import { Cuts } from "./cuts.js"
import type { LabelTexts } from "./labelText.js"
import type { Format } from "./negotiation.js"
import type { Progress } from "./pace.js"
import { Pace } from "./pace.js"
import { LateError } from "./readings.js"
import type { Entry, Failure, Readable, WrittenFamily } from "./render.js"
import { capacityFor, Render } from "./render.js"
import { giveBack, takeSpare } from "./spare.js"
import type { Shortcuts } from "./store.js"
import type { Timer } from "./timer.js"
import { clearTimeout, nextTurn, now, setTimeout } from "./timer.js"
import { Writer } from "./writer.js"

/** What is asked of a render. */
export interface Wanted {
  /** Only these families; all if undefined. */
  readonly names: ReadonlyArray<string> | undefined
  /**
   * The moment of `now()` at which the result is due, whatever is missing, and the one up to which metrics are waited for;
   * default: never.
   */
  readonly deadline?: { readonly at: number; readonly patience: number } | undefined
  /** Ends it before. */
  readonly leaving?: Leaving | undefined
}

/** Says that a result is not needed any more. An `AbortSignal` takes longer to make than a small registry to render. */
export interface Leaving {
  hasLeft: boolean
  onLeave: (() => void) | undefined
}

/** The metrics that had been asked and had not answered when the time was over, or else the one that came next. */
export interface Stopped {
  readonly names: ReadonlyArray<string>
  readonly isWaiting: boolean
}

/** Families in the order of the registry, and the metrics that could not be read. */
export interface Rendered {
  readonly families: ReadonlyArray<WrittenFamily>
  readonly failures: ReadonlyArray<Failure>
  /** Why it is not whole: its time was over. */
  readonly stopped: Stopped | undefined
  /** The labels that every series has which has no other value for them. */
  readonly defaults: LabelTexts | undefined
  /** The longest time that this thread worked on it without giving way, in milliseconds. */
  readonly heldFor: number
  /** What is left out, and counters that cannot be one in OpenMetrics: sentences, by what they are about. */
  readonly notices: ReadonlyMap<string, string>
  /** What it was cut from. */
  readonly source: SharedRender
  /** To be called once its bytes are not needed any more. Where that is not called, their memory is not used again. */
  readonly done: () => void
}

interface Sharer extends Wanted {
  /** The render that it waits for now. */
  home: SharedRender
  entries: ReadonlyArray<Entry>
  readonly resolve: (rendered: Rendered | undefined) => void
  readonly reject: (error: unknown) => void
}

/** How to render. */
export interface Way {
  readonly shortcuts: Shortcuts
  /** Called when this thread begins to work without giving way, and when it gives way or waits for metrics. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Whether its memory is used again for the next one, which it must be given back for. */
  readonly isServed: boolean
}

// Who asks later than this after a render has begun does not share it, in milliseconds: its numbers would be as old.
const oldest = 1_000

/** A render, and those who wait for it. */
export class SharedRender {
  isOver = false
  private readonly began = now()
  private readonly sharers = new Set<Sharer>()
  private readonly pace: Pace
  private readonly render: Render
  private readonly writer: Writer
  private readonly cuts: Cuts
  private readonly late = new Map<Entry, object>()
  private hasBegun = false
  private isWaiting = false
  /** How many may still use the memory that it writes into. */
  private users = 0
  /** The first moment at which a result may be due, and what waits for it. */
  private due = Number.POSITIVE_INFINITY
  private timer: Timer | undefined
  private isChanged = false
  /** Whether somebody has come for some families since it was decided what is written next. */
  private isJoined = false
  private onChange = (): void => {}

  constructor(
    private readonly registry: Readable,
    readonly format: Format,
    names: Wanted["names"],
    private readonly way: Way,
    /** Those who wait for this one are taken over when all is written here that they wait for. */
    private predecessor?: SharedRender | undefined
  ) {
    this.pace = new Pace(way.onProgress)
    const spare = way.isServed ? takeSpare(registry) : undefined
    this.writer = spare ?? new Writer(names === undefined ? capacityFor(registry) : undefined)
    this.render = new Render(registry, format, way.shortcuts, this.writer, this.pace, () => this.change())
    this.cuts = new Cuts(this.writer)
  }

  /**
   * Whether who wants that is to share it: it is not too old; or there are many, and it is written as fast as can be. Who
   * wants some families does not wait for the end of a large one.
   */
  suits({ names }: Wanted, isFull: boolean): boolean {
    if (this.isOver) return false
    if (isFull && !this.isWaiting) return true
    return now() - this.began < oldest && (names === undefined || !this.render.isInLarge)
  }

  /** Waits for what is wanted. It is undefined where the caller leaves before. */
  join(wanted: Wanted): Promise<Rendered | undefined> {
    const { leaving, names } = wanted
    return new Promise((resolve, reject) => {
      const entries = this.hasBegun ? this.render.select(names) : []
      const sharer: Sharer = { ...wanted, home: this, entries, resolve, reject }
      const leave = (): void => {
        const { home } = sharer
        if (home.sharers.delete(sharer)) home.change()
        resolve(undefined)
      }
      if (leaving?.hasLeft) return leave()
      if (leaving !== undefined) leaving.onLeave = leave
      this.sharers.add(sharer)
      this.isJoined ||= names !== undefined
      this.watch(sharer)
      this.change()
    })
  }

  /** Renders for as long as somebody waits for it. */
  async run(): Promise<void> {
    const { pace, render, sharers } = this
    try {
      await render.begin()
      this.hasBegun = true
      for (const sharer of sharers) sharer.entries = render.select(sharer.names)
      this.watchAll()
      while (sharers.size > 0) {
        this.isChanged = false
        this.isJoined = false
        const entries = this.unwritten()
        await render.write(entries, () => sharers.size === 0 || this.isJoined || this.isDue())
        if (this.isDue()) {
          pace.stop()
          // What has its answer ready is not waited for.
          await nextTurn()
        }
        const given = await this.results(pace)
        pace.stop()
        // First: what is over is handed out as it is written, without a copy.
        if (sharers.size === 0) this.end()
        for (const give of given) give()
        if (this.isDue()) this.watchAll()
        if (sharers.size > 0 && entries.length === 0 && !this.isChanged) await this.changed()
      }
    } catch (error) {
      for (const { reject } of sharers) reject(error)
      sharers.clear()
    }
    this.end()
  }

  private end(): void {
    if (this.isOver) return
    this.isOver = true
    this.predecessor = undefined
    clearTimeout(this.timer)
    this.pace.stop()
    this.render.end()
    this.free()
  }

  /** The bytes of families of it, with `end` after them. They are shared with others, and not to be changed. */
  bytesOf(families: ReadonlyArray<WrittenFamily>, end: string): Promise<Uint8Array> {
    return this.cuts.bytesOf(families, end, this.isOver)
  }

  /** A copy of the bytes of families of it, in memory of its own. */
  copyOf(families: ReadonlyArray<WrittenFamily>): Promise<Uint8Array> {
    return this.cuts.copyOf(families, "")
  }

  private change(): void {
    this.isChanged = true
    this.onChange()
  }

  // Ends when there is something to do: a metric has answered, or somebody came or left.
  private async changed(): Promise<void> {
    if (this.tookOver()) return
    this.isWaiting = true
    await new Promise<void>((resolve) => {
      this.onChange = resolve
    })
    this.onChange = () => {}
    this.isWaiting = false
  }

  // All is written that those want who wait for the one before: here they get numbers that are not older.
  private tookOver(): boolean {
    const { predecessor, render, sharers } = this
    if (predecessor === undefined) return false
    this.predecessor = undefined
    for (const sharer of predecessor.sharers) {
      sharer.home = this
      sharer.entries = render.select(sharer.names)
      sharers.add(sharer)
      this.watch(sharer)
    }
    predecessor.sharers.clear()
    predecessor.change()
    return true
  }

  // What is due is given whatever is being written just then.
  private watch({ deadline }: Sharer): void {
    if (deadline === undefined) return
    const time = now()
    const due = deadline.patience > time ? deadline.patience : deadline.at
    if (due >= this.due) return
    clearTimeout(this.timer)
    this.due = due
    this.timer = setTimeout(() => void this.giveDue(), Math.ceil(Math.max(0, due - time)))
    // A process that has nothing else to wait for does not go on for this.
    this.timer.unref()
  }

  private watchAll(): void {
    this.due = Number.POSITIVE_INFINITY
    for (const sharer of this.sharers) this.watch(sharer)
  }

  private isDue(): boolean {
    return now() >= this.due
  }

  private async giveDue(): Promise<void> {
    await nextTurn()
    if (!this.hasBegun || this.isOver) return
    const pace = new Pace()
    await pace.start()
    const given = await this.results(pace)
    pace.stop()
    for (const give of given) give()
    this.watchAll()
    this.change()
  }

  // What is written next, as far as it is known: for those who want some families, then for those who want all of them, and
  // then for those who are to be taken over.
  private unwritten(): ReadonlyArray<Entry> {
    const { predecessor, render, sharers } = this
    const own = this.open(new Set([...sharers].map(({ entries }) => entries)))
    if (own.length > 0 || predecessor === undefined) return own
    return this.open(new Set([...predecessor.sharers].map(({ names }) => render.select(names))))
  }

  private open(wanted: Set<ReadonlyArray<Entry>>): ReadonlyArray<Entry> {
    const { render } = this
    const isOpen = (entry: Entry): boolean => entry.outcome === undefined && !render.isPending(entry)
    const all = render.select(undefined)
    const isWhole = wanted.delete(all)
    const some = [...new Set([...wanted].flat())].filter(isOpen)
    if (some.length > 0) return some.sort((one, other) => one.index - other.index)
    return isWhole ? all.filter(isOpen) : []
  }

  // The results of those who have all that they wait for, or whose time is over, ready to be given to them.
  private async results(pace: Pace): Promise<ReadonlyArray<() => void>> {
    const { sharers } = this
    const given: Array<() => void> = []
    const time = now()
    const outcomes = new Map<ReadonlyArray<Entry>, Outcomes>()
    for (const sharer of [...sharers]) {
      const { deadline, entries } = sharer
      const known = outcomes.get(entries) ?? this.outcomesOf(entries)
      outcomes.set(entries, known)
      const isComplete = known.pending.length + known.untouched.length === 0
      const isLate = deadline !== undefined && time >= deadline.patience && known.untouched.length === 0
      if (!isComplete && !isLate && !(deadline !== undefined && time >= deadline.at)) continue
      if (sharers.delete(sharer)) {
        const rendered = this.rendered(known)
        given.push(() => (sharer.leaving?.hasLeft ? rendered.done() : sharer.resolve(rendered)))
      }
      if (pace.isOver()) await pace.rest()
    }
    return given
  }

  private outcomesOf(entries: ReadonlyArray<Entry>): Outcomes {
    const { render } = this
    const outcomes: Outcomes = { families: [], failures: [], pending: [], untouched: [] }
    for (const entry of entries) {
      const { outcome } = entry
      if (outcome === undefined) (render.isPending(entry) ? outcomes.pending : outcomes.untouched).push(entry)
      else if ("error" in outcome) outcomes.failures.push(outcome)
      else outcomes.families.push(outcome)
    }
    return outcomes
  }

  private rendered({ failures, families, pending, untouched }: Outcomes): Rendered {
    const { render } = this
    const [next] = untouched
    const late = pending.map((entry): Failure => {
      const { metric, name } = entry
      return { name, metric, error: new LateError(), reading: this.latenessOf(entry) }
    })
    const names = pending.map(({ name }) => name)
    const stopped = next && (names.length > 0 ? { names, isWaiting: true } : { names: [next.name], isWaiting: false })
    let isUsing = true
    this.users += 1
    return {
      families,
      failures: [...failures, ...late],
      stopped,
      defaults: render.defaults,
      heldFor: this.pace.longest,
      notices: render.notices,
      source: this,
      done: () => {
        if (!isUsing) return
        isUsing = false
        this.users -= 1
        this.free()
      }
    }
  }

  // That a metric is late is one failure, whoever waits for it here.
  private latenessOf(entry: Entry): object {
    const known = this.late.get(entry) ?? {}
    this.late.set(entry, known)
    return known
  }

  private free(): void {
    if (this.way.isServed && this.isOver && this.users === 0) giveBack(this.registry, this.writer)
  }
}

/** What has become of entries. */
interface Outcomes {
  readonly families: Array<WrittenFamily>
  readonly failures: Array<Failure>
  readonly pending: Array<Entry>
  /** Neither written nor asked. */
  readonly untouched: Array<Entry>
}
