/** The rows, in the order of the table. */
import type { Row } from "../report.js"
import { instrumented, timed } from "./effects.js"
import { firstScrape } from "./firstScrape.js"
import { hold } from "./hold.js"
import { http1, http32 } from "./http.js"
import { httpRequests } from "./httpRequests.js"
import { kept } from "./kept.js"
import { loading } from "./loading.js"
import { million } from "./million.js"
import { promises } from "./promises.js"
import { counters, histograms, openmetrics, ordinary, ordinaryWithSummaries } from "./render.js"
import { worker } from "./worker.js"

export const rows: ReadonlyArray<Row> = [
  counters,
  histograms,
  ordinary,
  ordinaryWithSummaries,
  firstScrape,
  openmetrics,
  hold,
  million,
  kept,
  http1,
  http32,
  worker,
  timed,
  instrumented,
  promises,
  ...httpRequests,
  loading
]
