import { counter, histogram } from "effect-prometheus/Promises"

export const seconds = histogram({ name: "work_seconds", help: "Time of the work, in seconds.", labelNames: ["kind"] })
export const items = counter({ name: "work_items_total", help: "Items of work.", labelNames: ["kind"] })
