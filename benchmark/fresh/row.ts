/** Runs one row, in a process of its own: no row sees the memory, the warm code or the crash of another. */
import { report } from "../fresh.js"
import { rows } from "../rows/index.js"

const row = rows.find(({ id }) => id === process.argv[2])
if (row === undefined) throw new TypeError(`there is no row ${process.argv[2]}`)
report(await row.run())
