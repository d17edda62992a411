/** The rules of `examples/monitoring` in a time that passes faster, so that an incident does not take an hour. */
import { readFileSync } from "node:fs"
import { monitoringFile } from "../support/monitoring.js"

/** Fifteen seconds of the rules are one second of a test. */
export const pace = 15

const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 }

const faster = (duration: string): string => {
  const [, number = "", unit = ""] = /^(\d+)([smhdw])$/.exec(duration) ?? []
  return `${Math.round((Number(number) * (units[unit] ?? Number.NaN) * 1e3) / pace)}ms`
}

const duration = /(?<=\[|:|offset |for: |interval: )\d+[smhdw](?=[\]:)\s])/g

// Numbers of seconds in expressions.
const seconds =
  /(process_start_time_seconds [<>] |\(instance:process:young_seconds\[\w+\]\) < |\(scrape_duration_seconds\[\w+\]\) > )(\d+)/g

export const fasterRules = (): string =>
  readFileSync(monitoringFile("alerts.yml"), "utf8")
    .replace(seconds, (_, before: string, number: string) => `${before}${Number(number) / pace}`)
    // The six hours of traffic that HttpTrafficGone needs would be 24 minutes.
    .replace("offset 6h", "offset 1h")
    .replace(duration, faster)
