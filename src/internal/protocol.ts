/** What the main thread and the worker say to each other. */
import type { Ask, NotScraped } from "./endpoint.js"
import type { LabelTexts } from "./labelText.js"
import type { Format } from "./negotiation.js"
import type { ScrapeReport } from "./scrapeReport.js"
import type { TlsMaterial } from "./secureContext.js"
import type { ListenOptions } from "./server.js"

/** What the worker is started with. Times are in milliseconds. */
export interface WorkerOptions {
  readonly listen: ListenOptions
  readonly path: string
  readonly explorer: boolean
  readonly compression: boolean
  readonly scrapeTimeout: number
  readonly maxScrapesInFlight: number
  /** Whether every exposition says how old it is. */
  readonly tellsAge: boolean
  /** How long the main thread may take to show any sign of life before the last exposition is served. */
  readonly grace: number
  /** How old the last exposition may be. */
  readonly staleFor: number
  /** The exposition to begin with, if there was one to be had. */
  readonly first: Exposed | undefined
}

/** An exposition: its families one after the other, and where each of them ends. */
export interface Exposed {
  readonly format: Format
  /** The names that were asked for; undefined: all. */
  readonly asked: ReadonlyArray<string> | undefined
  readonly names: ReadonlyArray<string>
  readonly lengths: ReadonlyArray<number>
  readonly bytes: Uint8Array
  /** The labels that all of its series have. */
  readonly defaults: LabelTexts | undefined
  /** The longest time that the main thread worked on it without giving way, in milliseconds. */
  readonly heldFor: number
}

/** A scrape that is asked for. */
export interface Asked {
  readonly id: number
  readonly ask: Ask
}

/** What the worker says. */
export type FromWorker =
  | { readonly tag: "Listening"; readonly hostname: string; readonly port: number }
  | { readonly tag: "Failed"; readonly code: string | undefined; readonly message: string }
  | { readonly tag: "Scrape"; readonly scrapes: ReadonlyArray<Asked> }
  | { readonly tag: "Ping" }
  /** These scrapes are not waited for any more. */
  | { readonly tag: "Forget"; readonly ids: ReadonlyArray<number> }
  /** What has become of the requests for the metrics. */
  | { readonly tag: "Report"; readonly report: ScrapeReport }
  | { readonly tag: "Closed" }

/** What the main thread says. */
export type ToWorker =
  /** It is there, and waits for something. */
  | { readonly tag: "Alive" }
  /** It works on scrapes, and cannot answer meanwhile. */
  | { readonly tag: "Busy" }
  /** The families that all of these scrapes have asked for together. */
  | { readonly tag: "Scraped"; readonly ids: ReadonlyArray<number>; readonly exposed: Exposed }
  | ({ readonly tag: "NotScraped"; readonly id: number } & NotScraped)
  /** A report is recorded. */
  | { readonly tag: "ReportRead" }
  | { readonly tag: "Renew"; readonly tls: TlsMaterial }
  | { readonly tag: "Close"; readonly deadline: number }
