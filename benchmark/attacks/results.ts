/** The results of the attacks, as one table. */
import { lined } from "../report.js"
import { spread } from "../rounds.js"
import { type Place, places } from "./lab.js"

/** Higher is better for answered scrapes; lower is better for everything else. */
export type Unit = "of 30" | "ms" | "MiB" | "% of a core" | "requests"

/** One figure of one run. */
export interface Reading {
  readonly what: string
  readonly value: number
  readonly unit: Unit
}

/** One attack at one place. */
export interface Attacked {
  readonly id: string
  readonly place: Place
  readonly readings: ReadonlyArray<Reading>
}

/** A figure over all runs. */
export interface Result {
  readonly id: string
  readonly what: string
  readonly unit: Unit
  readonly figures: Readonly<Partial<Record<Place, { readonly median: number; readonly worst: number }>>>
}

export const resultsOf = (attacked: ReadonlyArray<Attacked>): ReadonlyArray<Result> => {
  const all = attacked.flatMap(({ id, place, readings }) => readings.map((reading) => ({ id, place, ...reading })))
  const keyOf = ({ id, what }: { readonly id: string; readonly what: string }) => `${id}: ${what}`
  const ids = [...new Set(attacked.map(({ id }) => id))]
  return ids
    .flatMap((id) => [...new Map(all.filter((each) => each.id === id).map((each) => [keyOf(each), each])).values()])
    .map(({ id, unit, what }) => {
      const figures = places.flatMap((place) => {
        const values = all.filter((each) => each.id === id && each.what === what && each.place === place)
        if (values.length === 0) return []
        const { median, range } = spread(values.map(({ value }) => value))
        return [[place, { median, worst: unit === "of 30" ? range[0] : range[1] }]] as const
      })
      return { id, what, unit, figures: Object.fromEntries(figures) }
    })
}

export const tableOf = (results: ReadonlyArray<Result>): string =>
  lined([
    ["attack", "figure", "unit", ...places],
    ...results.map(({ id, what, unit, figures }) => [
      id,
      what,
      unit,
      ...places.map((place) => {
        const figure = figures[place]
        return figure === undefined ? "" : `${short(figure.median)} (${short(figure.worst)})`
      })
    ])
  ])

const short = (value: number): string =>
  Math.abs(value) >= 10 ? Math.round(value).toLocaleString("en") : Number(value.toFixed(1)).toString()
