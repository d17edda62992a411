/** The result of a row: figures, comparisons of them, and whether these reach the row's bar. */
import { perRound, type Rounds, type Spread, spread } from "./rounds.js"

/** One row of the benchmark. */
export interface Row {
  readonly id: string
  readonly title: string
  readonly run: () => Promise<Outcome>
}

export interface Outcome {
  readonly comparisons: ReadonlyArray<Comparison>
  /** Notes that readers of the figures need. */
  readonly notes?: ReadonlyArray<string> | undefined
}

/** Lower is better for times and sizes; higher is better for rates. */
export type Unit = "ms" | "µs" | "ns" | "MiB" | "bytes" | "scrapes/s" | "requests/s" | "modules"

export interface Figure extends Spread {
  readonly name: string
  readonly unit: Unit
}

export type Bar = { readonly atLeast: number } | { readonly atMost: number }

/**
 * `times`: how many times as fast (or as small) as the peer; `share`: our figure divided by the peer's; `limit`: our
 * figure itself. A lower bar (`atLeast`) applies to `times`, an upper bar (`atMost`) to `share` and `limit`.
 */
export interface Comparison {
  readonly what?: string | undefined
  readonly ours: Figure
  readonly peer?: Figure | undefined
  readonly kind: "times" | "share" | "limit"
  /** The median of the rounds, in the meaning of `kind`. */
  readonly result: Spread
  readonly bar?: Bar | undefined
  readonly reached?: boolean | undefined
}

/** The measurements of a contender. */
export interface Measured {
  readonly name: string
  readonly unit: Unit
  readonly rounds: Rounds<number>
}

interface Asked {
  readonly what?: string | undefined
  readonly bar?: Bar | undefined
}

/** Compares two contenders, round by round. Without a bar the result is how many times as fast we are. */
export const compare = (
  ours: Measured,
  peer: Measured,
  asked: Asked & {
    /** A part of both figures that is subtracted before the comparison. */
    readonly without?: Rounds<number> | undefined
    /** Compares the medians of both figures, where a part that is subtracted makes the ratio of a round too noisy. */
    readonly ofMedians?: boolean | undefined
  } = {}
): Comparison => {
  const { without = [] } = asked
  const mine = less(ours.rounds, without)
  const theirs = less(peer.rounds, without)
  const kind = asked.bar !== undefined && "atMost" in asked.bar ? "share" : "times"
  const rate = ours.unit.endsWith("/s")
  const ratio = (a: number, b: number): number => ((kind === "times") === rate ? a / b : b / a)
  const [own, other] = [figure(ours, mine), figure(peer, theirs)]
  const ratios = spread(perRound(mine, theirs, ratio))
  const result = asked.ofMedians === true ? { ...ratios, median: ratio(own.median, other.median) } : ratios
  return judged(asked, kind, result, own, other)
}

/** Compares a contender with a fixed limit. */
export const limit = (ours: Measured, asked: Asked): Comparison => {
  const mine = figure(ours, ours.rounds)
  return judged(asked, "limit", mine, mine)
}

const less = (rounds: Rounds<number>, without: Rounds<number>): Rounds<number> =>
  rounds.map((value, round) => (value === undefined ? undefined : value - (without[round] ?? 0)))

const figure = ({ name, unit }: Measured, rounds: Rounds<number>): Figure => ({
  name,
  unit,
  ...spread(rounds.filter((value) => value !== undefined))
})

const judged = (
  { what, bar }: Asked,
  kind: Comparison["kind"],
  { median, quartiles, range, rounds }: Spread,
  ours: Figure,
  peer?: Figure
): Comparison => ({
  what,
  ours,
  peer,
  kind,
  result: { median, quartiles, range, rounds },
  bar,
  reached: bar && ("atLeast" in bar ? median >= bar.atLeast : median <= bar.atMost)
})

/** A row that ran, or that failed. */
export interface Report extends Partial<Outcome> {
  readonly id: string
  readonly title: string
  readonly error?: string | undefined
}

/** The reports as one table, one line per comparison. */
export const table = (reports: ReadonlyArray<Report>): string => {
  const lines = reports.flatMap(({ id, comparisons = [] }) => comparisons.map((comparison) => cells(id, comparison)))
  const text = lined([["row", "ours", "peer", "ratio", "middle half", "rounds", "bar", "reached"], ...lines])
  const notes = reports.flatMap(({ id, notes = [], error }) =>
    [...notes, ...(error === undefined ? [] : [`FAILED: ${error}`])].map((note) => `${id}: ${note}`)
  )
  return notes.length > 0 ? `${text}\n${notes.join("\n")}\n` : text
}

/** Rows in columns, the first one as the head. */
export const lined = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const text = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd()
  )
  text.splice(1, 0, widths.map((width) => "-".repeat(width)).join("  "))
  return `${text.join("\n")}\n`
}

const cells = (id: string, { what, ours, peer, kind, result, bar, reached }: Comparison): ReadonlyArray<string> => {
  const sign = kind === "limit" ? ` ${ours.unit}` : "x"
  const asked = bar && ("atLeast" in bar ? `≥ ${bar.atLeast}` : `≤ ${bar.atMost}`)
  return [
    what === undefined ? id : `${id}: ${what}`,
    shown(ours),
    peer === undefined ? "" : shown(peer),
    `${short(result.median)}${sign}`,
    `${short(result.quartiles[0])} to ${short(result.quartiles[1])}`,
    String(result.rounds),
    asked === undefined ? "" : `${asked}${sign}`,
    reached === undefined ? "" : reached ? "yes" : "NO"
  ]
}

const shown = ({ name, median, unit }: Figure): string => `${name}: ${short(median)} ${unit}`

const short = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString("en") : Number(value.toPrecision(3)).toString()
