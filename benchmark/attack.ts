/**
 * Attacks servers of the built package, and measures what they bear: `npm run bench:attack`
 *
 * Each attack runs three times, against a server in the application's thread and one in a worker thread. The server, the
 * attackers and the honest clients are processes of their own, and the sockets are real. `--only memory turns` runs the
 * attacks whose names begin so, `--runs 1` changes the number of runs, `--list` lists the attacks, and `--json` prints
 * data. It reads CPU time and memory in `/proc`, and so runs on Linux only. All of it takes some five minutes.
 */
import { cpus, loadavg } from "node:os"
import { parseArgs } from "node:util"
import { attacks } from "./attacks/index.js"
import type { Place } from "./attacks/lab.js"
import { places } from "./attacks/lab.js"
import type { Attacked } from "./attacks/results.js"
import { resultsOf, tableOf } from "./attacks/results.js"

const { values, positionals } = parseArgs({
  options: {
    json: { type: "boolean" },
    list: { type: "boolean" },
    only: { type: "string", multiple: true, default: [] },
    runs: { type: "string", default: "3" }
  },
  allowPositionals: true
})
if (process.platform !== "linux") throw new Error("the attacks are measured by /proc, which Linux has")
const runs = Number(values.runs)
if (!Number.isInteger(runs) || runs < 1)
  throw new RangeError(`--runs must be a whole number from 1, not ${values.runs}`)

const wanted = [...values.only, ...positionals].flatMap((text) => text.split(","))
const chosen = attacks.filter(({ id }) => wanted.length === 0 || wanted.some((name) => id.startsWith(name)))
if (chosen.length === 0) throw new RangeError(`unknown attack ${wanted.join(", ")}: see --list`)

if (values.list) {
  for (const { id, title } of chosen) console.log(`${id.padEnd(24)}  ${title}`)
} else {
  const attacked: Array<Attacked> = []
  for (let run = 1; run <= runs; run += 1) {
    for (const { id, only = places, run: attack } of chosen) {
      for (const place of only) await attackOnce(id, place, run, attack)
    }
  }
  const machine = {
    node: process.version,
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    load: loadavg()[0]
  }
  const results = resultsOf(attacked)
  if (values.json) console.log(JSON.stringify({ ...machine, runs, results }, undefined, 2))
  else {
    const { cores, cpu, load = 0, node } = machine
    console.log(
      `\nNode.js ${node}, ${cores} cores of ${cpu}, load ${load.toFixed(1)}, ${runs} runs, median (worst)\n\n${tableOf(results)}`
    )
  }

  async function attackOnce(id: string, place: Place, run: number, attack: (typeof chosen)[number]["run"]) {
    console.error(`run ${run} of ${runs}: ${id}, ${place}`)
    try {
      const readings = await attack(place)
      for (const { unit, value, what } of readings) console.error(`  ${what}: ${value.toFixed(1)} ${unit}`)
      attacked.push({ id, place, readings })
    } catch (error) {
      process.exitCode = 1
      console.error(`FAILED: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}
