/** Numbers for people. */
import type { Kind } from "./model.js"

/** The unit of a number. */
export type Unit = "seconds" | "bytes" | "timestamp" | "ratio" | "celsius" | "none"

/** From the suffix of the name of a metric. Counted and observed values are not points in time. */
export const unitOf = (name: string, kind: Kind): Unit => {
  const base = name.replace(/_(total|sum|count|bucket|created)$/, "")
  if (/_(timestamp|time)_seconds$/.test(base) && (kind === "gauge" || kind === "untyped")) return "timestamp"
  const found = /_(seconds|bytes|ratio|celsius)$/.exec(base)?.[1]
  return (found as Unit | undefined) ?? "none"
}

const digits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 })
const few = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 3 })
const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 })

/** A number without its unit, with four significant digits. */
const plain = (value: number): string => {
  const size = Math.abs(value)
  if (size === 0) return "0"
  if (size < 1e-4) return value.toExponential(2)
  if (size < 999_999.5) return Number.isInteger(value) ? whole.format(value) : digits.format(value)
  return scaled(value, 1e3, ["", " k", " M", " G", " T", " P", " E"])
}

const scaled = (value: number, base: number, names: ReadonlyArray<string>): string => {
  let rest = value
  let index = 0
  // 999.96 would be written as 1,000.
  while (Math.abs(rest) >= base * 0.9995 && index < names.length - 1) {
    rest /= base
    index += 1
  }
  return Math.abs(rest) >= base ? value.toExponential(2) : `${few.format(rest)}${names[index] ?? ""}`
}

const seconds = (value: number): string => {
  const size = Math.abs(value)
  if (size === 0) return "0 s"
  if (size < 1e-9) return `${value.toExponential(2)} s`
  if (size < 0.9995) return scaled(value * 1e9, 1e3, [" ns", " µs", " ms"])
  if (size < 120) return `${few.format(value)} s`
  if (size < 7_200) return `${few.format(value / 60)} min`
  if (size < 172_800) return `${few.format(value / 3_600)} h`
  return `${plain(value / 86_400)} d`
}

/** Smaller values are not shown as points in time: September 2001, in seconds since 1970. */
export const earliest = 1e9

const timestamp = (value: number): string => {
  const date = new Date(value * 1e3)
  // A value that is not a date is shown as a number: 0 means not set, and a small value is a duration.
  if (Number.isNaN(date.getTime()) || value === 0) return plain(value)
  if (value < earliest) return seconds(value)
  const two = (number: number): string => String(number).padStart(2, "0")
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/** A value with its unit, in short form. */
export const formatted = (value: number, unit: Unit): string => {
  if (Number.isNaN(value)) return "NaN"
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "−Inf"
  return units[unit](value).replace(/^-/, "−")
}

const units: { readonly [U in Unit]: (value: number) => string } = {
  seconds,
  timestamp,
  bytes: (value) => scaled(value, 1_024, [" B", " KiB", " MiB", " GiB", " TiB", " PiB"]),
  ratio: (value) => `${plain(value * 100)} %`,
  celsius: (value) => `${plain(value)} °C`,
  none: plain
}

/** The same for a bound, which was chosen by a person: bytes in powers of 1,000 if that gives a rounder number. */
export const shortest = (value: number, unit: Unit): string => {
  const text = formatted(value, unit)
  if (unit !== "bytes" || !Number.isFinite(value)) return text
  const other = scaled(value, 1e3, [" B", " kB", " MB", " GB", " TB", " PB"])
  return other.length < text.length ? other : text
}

/** The increase per second; empty if it is not known yet. */
export const perSecond = (value: number, unit: Unit): string =>
  Number.isNaN(value) ? "" : `${formatted(value, unit)}/s`

/** A value with all of its digits. */
export const exact = (value: number): string =>
  Number.isFinite(value) || Number.isNaN(value) ? String(value) : value > 0 ? "+Inf" : "-Inf"

/** A number with its noun. */
export const counted = (count: number, one: string, many: string): string =>
  `${whole.format(count)} ${count === 1 ? one : many}`
