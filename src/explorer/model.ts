/** Families and their series, as the page holds them. */
import type { History } from "./history.js"
import type { Labels } from "./parse.js"
import type { Recent } from "./recent.js"

/** The types of a family. */
export const kinds = ["counter", "gauge", "histogram", "summary", "untyped"] as const

/** One of these types. */
export type Kind = (typeof kinds)[number]

/** One bucket, or one quantile. */
export interface Point {
  readonly bound: number
  value: number
  /** The value at the first exposition, or 0 after a counter reset. */
  first: number
  /** Its place in the snapshots of its distribution. */
  index: number
}

/** The observations of a histogram or a summary. */
export interface Distribution {
  points: Array<Point>
  /** Whether the points are in the order of their bounds, as they nearly always are. */
  isInOrder: boolean
  sum: number
  firstSum: number
  /** Its numbers of about a minute ago. */
  readonly recent: Recent
}

/** One series; for a histogram or a summary, all series of the same observations. */
export interface Series {
  readonly labels: Labels
  /** The text that the filter searches, in lower case. */
  readonly text: string
  /** For a histogram or a summary, the number of observations. */
  value: number
  /** The same in the previous exposition. */
  previous: number
  /** The same in the first exposition, or 0 after a counter reset. */
  first: number
  /** Its increase per second, which requires two expositions; for a gauge, its value. */
  rate: number
  hasChanged: boolean
  /** The exposition in which it appeared. */
  readonly appeared: number
  seen: number
  history: History | undefined
  /** It changes, but there is no room for its history. */
  isUntraced: boolean
  readonly distribution: Distribution | undefined
}

/** All series of one name. */
export interface Family {
  readonly name: string
  readonly kind: Kind
  /** Its place among the families by name, before the name itself. */
  readonly rank: number
  /** What follows the name in the samples of a counter: nothing, or `_total` in OpenMetrics. */
  suffix: string
  help: string
  /** Its name and its help in lower case. */
  text: string
  readonly series: Map<string, Series>
  /** How many series Prometheus would count. */
  lines: number
  hasChanged: boolean
  /** Its most useful number: the increase of all series per second, or the value of a gauge with one series. */
  total: number
  /** The history of `total`, from its first change on. */
  history: History | undefined
  seen: number
  /**
   * The exposition in which it has numbers of an unknown past: the first one, or one after an exposition without it, as of a
   * metric that could not be collected. 0: it began at 0.
   */
  readonly resumedIn: number
  /** Another family has its name. */
  isGone: boolean
}

/** Whether its series consist of observations. */
export const isDistribution = (kind: Kind): boolean => kind === "histogram" || kind === "summary"

/** Whether its values can go up and down. */
export const isGauge = (kind: Kind): boolean => kind === "gauge" || kind === "untyped"

/** How many series Prometheus counts for it. */
export const linesOf = ({ distribution }: Series): number =>
  distribution === undefined ? 1 : distribution.points.length + 2
