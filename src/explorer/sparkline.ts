/** A line chart of a value that changes. It is drawn from numbers only. */
import { drawn } from "./dom.js"
import { longest } from "./history.js"

const width = 120
const height = 28
const margin = 2

/** A line that can be redrawn. */
export interface Sparkline {
  readonly node: SVGSVGElement
  readonly draw: (points: ReadonlyArray<number>, fromZero: boolean) => void
}

export const sparkline = (): Sparkline => {
  const node = drawn("svg", {
    class: "spark",
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true"
  })
  const area = drawn("path", { class: "spark-area" })
  const line = drawn("path", { class: "spark-line" })
  node.append(area, line)
  let last = ""
  const draw = (points: ReadonlyArray<number>, fromZero: boolean): void => {
    const path = pathOf(points, fromZero)
    if (path === last) return
    last = path
    line.setAttribute("d", path)
    area.setAttribute("d", path === "" ? "" : `${path}V${height}H${startOf(path)}Z`)
  }
  return { node, draw }
}

const startOf = (path: string): string => /^M([\d.]+)/.exec(path)?.[1] ?? "0"

// The newest point is at the right; a line that never changes shows nothing.
const pathOf = (points: ReadonlyArray<number>, fromZero: boolean): string => {
  const finite = points.filter(Number.isFinite)
  const most = Math.max(...finite, fromZero ? 0 : Number.NEGATIVE_INFINITY)
  const least = Math.min(...finite, fromZero ? 0 : Number.POSITIVE_INFINITY)
  if (finite.length < 2 || !(most > least)) return ""
  const step = width / (Math.min(Math.max(points.length, 24), longest) - 1)
  let path = ""
  let isOn = false
  points.forEach((point, index) => {
    if (!Number.isFinite(point)) {
      isOn = false
      return
    }
    const x = width - (points.length - 1 - index) * step
    const y = height - margin - ((point - least) / (most - least)) * (height - 2 * margin)
    path += `${isOn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`
    isOn = true
  })
  return path
}
