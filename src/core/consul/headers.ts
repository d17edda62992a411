import { described } from "../util/secrets.js"

export const isHeaderValue = (value: string): boolean => /^[\t\x20-\x7e\x80-\xff]*$/.test(value)

/** Throws a `RangeError` that does not show the value. */
export const headerValue = (option: string, header: string, value: unknown): string => {
  if (typeof value === "string" && isHeaderValue(value)) return value
  throw new RangeError(
    `${option} (sent as ${header}) must be a string that is valid in a header, but it is ${described(value)}`
  )
}
