/** Values of the metrics of HTTP requests in an exposition. */

/** Requests that have ended: how many by `method route status`, summed over other labels. */
export const endedIn = (exposition: string): Readonly<Record<string, number>> =>
  by(exposition, "http_server_requests_total", ({ method, route, status }) => `${method} ${route} ${status}`)

/** Requests in progress by method. */
export const inProgressIn = (exposition: string): Readonly<Record<string, number>> =>
  by(exposition, "http_server_requests_in_progress", ({ method = "" }) => method)

/** How many were observed by a histogram, by `method route status`. */
export const countsIn = (exposition: string, family: string): Readonly<Record<string, number>> =>
  by(exposition, `${family}_count`, ({ method, route, status }) => `${method} ${route} ${status}`)

/** The sums of what a histogram observed, by `method route status`. */
export const sumsIn = (exposition: string, family: string): Readonly<Record<string, number>> =>
  by(exposition, `${family}_sum`, ({ method, route, status }) => `${method} ${route} ${status}`)

type Labels = Readonly<Record<string, string>>

const by = (exposition: string, name: string, key: (labels: Labels) => string): Readonly<Record<string, number>> => {
  const found = exposition.split("\n").flatMap((line): ReadonlyArray<readonly [string, number]> => {
    const [, sample, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (sample !== name) return []
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = "", text = ""]) => [label, text])
    return [[key(Object.fromEntries(pairs)), Number(value)]]
  })
  const sums: Record<string, number> = {}
  for (const [label, value] of found) sums[label] = (sums[label] ?? 0) + value
  return sums
}
