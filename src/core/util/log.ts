import { messageOf } from "./text.js"

/** Must not throw. */
export type Log = (level: "info" | "warn" | "error", message: string, error?: unknown) => void

export const toConsole: Log = (level, message, error) =>
  console[level](`effect-prometheus: ${error === undefined ? message : `${message}: ${messageOf(error)}`}`)
