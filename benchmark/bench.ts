/**
 * Measures the library against its peers: `npm run bench`
 *
 * `npm run bench -- counters http-1` runs only those rows, `--list` lists the rows, and `--json` prints data instead of a
 * table (use `npm run --silent bench`, because npm prints a line of its own). The file of each row in `rows/` says what it
 * measures and how. A missed bar is only reported; the exit status is 1 if a row cannot be measured.
 */
import { cpus } from "node:os"
import { parseArgs } from "node:util"
import { fresh } from "./fresh.js"
import { type Outcome, type Report, table } from "./report.js"
import { rows } from "./rows/index.js"

const { values, positionals } = parseArgs({
  options: { json: { type: "boolean" }, list: { type: "boolean" } },
  allowPositionals: true
})

// `http-requests` stands for all rows below it.
const isAsked = (asked: string, id: string): boolean => id === asked || id.startsWith(`${asked}/`)

const unknown = positionals.filter((asked) => !rows.some(({ id }) => isAsked(asked, id)))
if (unknown.length > 0) {
  console.error(`unknown row ${unknown.join(", ")}; the rows are ${rows.map(({ id }) => id).join(", ")}`)
  process.exit(2)
}
const chosen =
  positionals.length === 0 ? rows : rows.filter(({ id }) => positionals.some((asked) => isAsked(asked, id)))

if (values.list) {
  for (const { id, title } of chosen) console.log(`${id.padEnd(24)}  ${title}`)
} else {
  const reports: Array<Report> = []
  for (const { id, title } of chosen) {
    console.error(`${id}: ${title}`)
    try {
      reports.push({ id, title, ...(await fresh<Outcome>("row", [id])) })
    } catch (error) {
      process.exitCode = 1
      reports.push({ id, title, error: error instanceof Error ? error.message : String(error) })
    }
  }
  const machine = { node: process.version, cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length }
  if (values.json) console.log(JSON.stringify({ ...machine, rows: reports }, undefined, 2))
  else console.log(`\nNode.js ${machine.node}, ${machine.cores} cores of ${machine.cpu}\n\n${table(reports)}`)
}
