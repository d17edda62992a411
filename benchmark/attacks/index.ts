/** The attacks, in the order of the table. */
import type { Attack } from "./lab.js"
import { memory } from "./memory.js"
import { byCertificate, byCredentials } from "./places.js"
import { refusedWhileIdle, refusedWhileStuck } from "./refused.js"
import { turns } from "./turns.js"

export const attacks: ReadonlyArray<Attack> = [
  ...byCredentials,
  ...byCertificate,
  ...memory,
  ...turns,
  refusedWhileStuck,
  refusedWhileIdle
]
