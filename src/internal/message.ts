/** Errors as text. */

/** What an error says, whatever was thrown: reading it can throw again. */
export const messageOf = (error: unknown): string => {
  try {
    return String(error instanceof Error ? error.message : error)
  } catch {
    return "an unknown error"
  }
}
