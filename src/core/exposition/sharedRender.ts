/**
 * One render serves scrapes of the same format at the same time, whatever families they request and however long they
 * wait. Each scrape gets its families as soon as they are written, or those that are written at its deadline.
 */
import { Pace } from "../util/eventLoopSlices.js"
import { getOrInsert } from "../util/getOrInsert.js"
import { clearTimeout, nextTurn, now, setTimeout, type Timer } from "../util/realTimers.js"
import { acquire, release } from "./bufferPool.js"
import { LateError } from "./collect.js"
import { FamilyBytes } from "./familyBytes.js"
import type { Format } from "./formats.js"
import type { RegistryReader } from "./model.js"
import { capacityFor, type Entry, type Failure, Render, type WrittenFamily } from "./render.js"
import type { Rendered, RenderedBytes, RenderMode, RenderRequest } from "./renderRequest.js"
import { Writer } from "./writer.js"

interface Sharer extends RenderRequest {
  home: SharedRender
  entries: ReadonlyArray<Entry>
  readonly resolve: (rendered: Rendered | undefined) => void
  readonly reject: (error: unknown) => void
}

// In milliseconds: a new request gets numbers that are as old as the render that it shares.
const oldest = 1_000

export class SharedRender implements RenderedBytes {
  isOver = false
  private readonly began = now()
  private readonly sharers = new Set<Sharer>()
  private readonly pace: Pace
  private readonly render: Render
  private readonly writer: Writer
  private readonly familyBytes: FamilyBytes
  private readonly late = new Map<Entry, object>()
  private hasBegun = false
  private isWaiting = false
  /** Results that may still use the buffer. */
  private users = 0
  /** When the first result may be due, and the timer for it. */
  private due = Number.POSITIVE_INFINITY
  private timer: Timer | undefined
  private isChanged = false
  /** A request for some families has joined since the next families to write were chosen. */
  private isJoined = false
  private onChange = (): void => {}

  constructor(
    private readonly reader: RegistryReader,
    readonly format: Format,
    names: RenderRequest["names"],
    private readonly mode: RenderMode,
    /** Its requests are taken over once everything that they wait for is written. */
    private predecessor?: SharedRender | undefined
  ) {
    this.pace = new Pace(mode.onProgress)
    const spare = mode.isServed ? acquire(reader.registry) : undefined
    this.writer = spare ?? new Writer(names === undefined ? capacityFor(reader.registry) : undefined)
    this.render = new Render(reader, format, this.writer, this.pace, () => this.change())
    this.familyBytes = new FamilyBytes(this.writer)
  }

  /**
   * True if it is not too old; or if the limit of renders is reached, and this one is not waiting for metrics. A
   * request for some families does not wait for the end of a large family.
   */
  suits({ names }: RenderRequest, isFull: boolean): boolean {
    if (this.isOver) return false
    if (isFull && !this.isWaiting) return true
    return now() - this.began < oldest && (names === undefined || !this.render.isInLarge)
  }

  /** Undefined if the request is cancelled first. */
  join(request: RenderRequest): Promise<Rendered | undefined> {
    const { cancellation, names } = request
    return new Promise((resolve, reject) => {
      const entries = this.hasBegun ? this.render.select(names) : []
      const sharer: Sharer = { ...request, home: this, entries, resolve, reject }
      const leave = (): void => {
        const { home } = sharer
        if (home.sharers.delete(sharer)) home.change()
        resolve(undefined)
      }
      if (cancellation?.isCancelled) return leave()
      if (cancellation !== undefined) cancellation.onCancel = leave
      this.sharers.add(sharer)
      this.isJoined ||= names !== undefined
      this.watch(sharer)
      this.change()
    })
  }

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
          // So that metrics whose answer is ready do not count as pending.
          await nextTurn()
        }
        const ready = await this.results(pace)
        pace.stop()
        // Before the results are delivered: a render that has ended provides its bytes without a copy.
        if (sharers.size === 0) this.end()
        for (const give of ready) give()
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

  bytesOf(families: ReadonlyArray<WrittenFamily>, end: string): Promise<Uint8Array> {
    return this.familyBytes.bytesOf(families, end, this.isOver)
  }

  copyOf(families: ReadonlyArray<WrittenFamily>): Promise<Uint8Array> {
    return this.familyBytes.copyOf(families, "")
  }

  private change(): void {
    this.isChanged = true
    this.onChange()
  }

  // A metric has answered, or a request was added or cancelled.
  private async changed(): Promise<void> {
    if (this.tookOver()) return
    this.isWaiting = true
    await new Promise<void>((resolve) => {
      this.onChange = resolve
    })
    this.onChange = () => {}
    this.isWaiting = false
  }

  // Everything that the requests of the predecessor wait for is written: here they get numbers that are not older.
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

  // Delivers a result when it is due, even while a family is being written.
  private watch({ deadline }: Sharer): void {
    if (deadline === undefined) return
    const time = now()
    const due = deadline.patience > time ? deadline.patience : deadline.at
    if (due >= this.due) return
    clearTimeout(this.timer)
    this.due = due
    this.timer = setTimeout(() => void this.giveDue(), Math.ceil(Math.max(0, due - time)))
    // The timer does not keep the process running.
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
    const ready = await this.results(pace)
    pace.stop()
    for (const give of ready) give()
    this.watchAll()
    this.change()
  }

  // First those for requests of some families, then for requests of all, then for the predecessor.
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

  // Functions that deliver the results that are complete or due.
  private async results(pace: Pace): Promise<ReadonlyArray<() => void>> {
    const { sharers } = this
    const ready: Array<() => void> = []
    const time = now()
    const outcomes = new Map<ReadonlyArray<Entry>, Outcomes>()
    for (const sharer of [...sharers]) {
      const { deadline, entries } = sharer
      const known = getOrInsert(outcomes, entries, () => this.outcomesOf(entries))
      const isComplete = known.pending.length + known.untouched.length === 0
      const isLate = deadline !== undefined && time >= deadline.patience && known.untouched.length === 0
      if (!isComplete && !isLate && !(deadline !== undefined && time >= deadline.at)) continue
      if (sharers.delete(sharer)) {
        const rendered = this.rendered(known)
        ready.push(() => (sharer.cancellation?.isCancelled ? rendered.done() : sharer.resolve(rendered)))
      }
      if (pace.isOver()) await pace.rest()
    }
    return ready
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
      return { name: entry.name, error: new LateError(), reading: this.latenessOf(entry) }
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
      longestBlock: this.pace.longest,
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

  // A late metric is one failure for all requests of this render.
  private latenessOf(entry: Entry): object {
    return getOrInsert(this.late, entry, () => ({}))
  }

  private free(): void {
    if (this.mode.isServed && this.isOver && this.users === 0) release(this.reader.registry, this.writer)
  }
}

interface Outcomes {
  readonly families: Array<WrittenFamily>
  readonly failures: Array<Failure>
  readonly pending: Array<Entry>
  /** Neither written nor collected. */
  readonly untouched: Array<Entry>
}
