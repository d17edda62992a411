/**
 * Attacks servers of the built package, and measures the effect: `npm run bench:attack`
 *
 * Each attack runs three times, against a server in the application's thread and against one in a worker thread. The
 * server, the attackers and the honest clients are separate processes with real sockets. `--only memory turns` runs the
 * attacks whose names begin with these words, `--runs 1` sets the number of runs, `--list` lists the attacks, and `--json`
 * prints data. CPU time and memory come from `/proc`, so it runs on Linux only. All attacks take about five minutes.
 */
import { cpus, loadavg } from "node:os"
import { parseArgs } from "node:util"
import { attacks } from "./attacks/index.js"
import { type Attack, type Place, places } from "./attacks/lab.js"
import { type Attacked, resultsOf, tableOf } from "./attacks/results.js"

const { values, positionals } = parseArgs({
  options: {
    json: { type: "boolean" },
    list: { type: "boolean" },
    only: { type: "string", multiple: true, default: [] },
    runs: { type: "string", default: "3" }
  },
  allowPositionals: true
})
if (process.platform !== "linux") throw new Error("the attacks need Linux: they read CPU time and memory from /proc")
const runs = Number(values.runs)
if (!Number.isInteger(runs) || runs < 1)
  throw new RangeError(`--runs must be a whole number from 1, not ${values.runs}`)

const wanted = [...values.only, ...positionals].flatMap((text) => text.split(","))
const chosen = attacks.filter(({ id }) => wanted.length === 0 || wanted.some((name) => id.startsWith(name)))
if (chosen.length === 0) throw new RangeError(`unknown attack ${wanted.join(", ")}: --list shows all attacks`)

const attackedOnce = async ({ id, run }: Attack, place: Place): Promise<ReadonlyArray<Attacked>> => {
  try {
    const readings = await run(place)
    for (const { unit, value, what } of readings) console.error(`  ${what}: ${value.toFixed(1)} ${unit}`)
    return [{ id, place, readings }]
  } catch (error) {
    process.exitCode = 1
    console.error(`FAILED: ${error instanceof Error ? error.message : String(error)}`)
    return []
  }
}

if (values.list) {
  for (const { id, title } of chosen) console.log(`${id.padEnd(24)}  ${title}`)
} else {
  const attacked: Array<Attacked> = []
  // Each run has all attacks, so that other load on the machine affects one figure of each attack.
  for (let run = 1; run <= runs; run += 1) {
    for (const attack of chosen) {
      for (const place of attack.only ?? places) {
        console.error(`run ${run} of ${runs}: ${attack.id}, ${place}`)
        attacked.push(...(await attackedOnce(attack, place)))
      }
    }
  }
  const [load = 0] = loadavg()
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, load }
  const results = resultsOf(attacked)
  if (values.json) console.log(JSON.stringify({ ...machine, runs, results }, undefined, 2))
  else {
    const title = `Node.js ${machine.node}, ${machine.cores} cores of ${machine.cpu}, load ${load.toFixed(1)}`
    console.log(`\n${title}, ${runs} runs, median (worst)\n\n${tableOf(results)}`)
  }
}
