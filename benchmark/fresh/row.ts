/** Runs one row in a separate process, so that the memory, compiled code or crash of another row does not affect it. */
import { report } from "../fresh.js"
import { rows } from "../rows/index.js"

const row = rows.find(({ id }) => id === process.argv[2])
if (row === undefined) throw new TypeError(`unknown row ${process.argv[2]}`)
report(await row.run())
