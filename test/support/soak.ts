/** Whether tests that repeat something do so as often as before a release: `SOAK=full`, as `.ci/full` sets it. */
export const isFullSoak = process.env["SOAK"] === "full"

/** How often to repeat: `full` times before a release, a tenth of that in each other run. */
export const soak = (full: number): number => (isFullSoak ? full : Math.ceil(full / 10))
