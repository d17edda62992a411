/** Renders the registry of an ordinary service once, by the contender named as the argument, and sends the time. */
import { clients, ours } from "../contenders.js"
import { report } from "../fresh.js"
import { ordinary } from "../registries.js"
import { collectGarbage } from "../rounds.js"

const { render } = (process.argv[2] === "ours" ? ours : clients)(ordinary)
collectGarbage()
const start = performance.now()
const rendered = await render()
const time = performance.now() - start
if (rendered.length < 1_000) throw new Error("that was no render")
report({ time })
