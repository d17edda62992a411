/** The messages between the main thread and the worker. */
import type { Format } from "../exposition/formats.js"
import type { LabelTexts } from "../exposition/labelText.js"
import type { ScrapeReport } from "../registry/scrapeRecorder.js"
import type { ScrapeErrorResponse, ScrapeRequest } from "../server/endpoint.js"
import type { ServerSettings } from "../server/serverOptions.js"
import type { TlsMaterial } from "../server/tls/secureContext.js"

export interface WorkerStartData {
  readonly settings: ServerSettings
  /** Undefined: it was not ready in time. */
  readonly first: SentExposition | undefined
}

/** The bytes of its families one after the other, and their lengths. */
export interface SentExposition {
  readonly format: Format
  /** Undefined: all. */
  readonly requested: ReadonlyArray<string> | undefined
  readonly names: ReadonlyArray<string>
  readonly lengths: ReadonlyArray<number>
  readonly bytes: Uint8Array
  readonly defaults: LabelTexts | undefined
  /** How long rendering it blocked the main thread, in milliseconds. */
  readonly longestBlock: number
}

export interface NumberedScrapeRequest {
  readonly id: number
  readonly request: ScrapeRequest
}

export type FromWorker =
  | { readonly tag: "Listening"; readonly hostname: string; readonly port: number }
  | { readonly tag: "Failed"; readonly code: string | undefined; readonly message: string }
  | { readonly tag: "Scrape"; readonly scrapes: ReadonlyArray<NumberedScrapeRequest> }
  | { readonly tag: "Ping" }
  /** Their results are not needed any more. */
  | { readonly tag: "Forget"; readonly ids: ReadonlyArray<number> }
  | { readonly tag: "Report"; readonly report: ScrapeReport }
  | { readonly tag: "Closed" }

export type ToWorker =
  /** Waits for metrics. */
  | { readonly tag: "Alive" }
  /** Renders, and cannot respond meanwhile. */
  | { readonly tag: "Busy" }
  | { readonly tag: "Scraped"; readonly ids: ReadonlyArray<number>; readonly exposition: SentExposition }
  | ({ readonly tag: "ScrapeFailed"; readonly id: number } & ScrapeErrorResponse)
  | { readonly tag: "ReportRead" }
  | { readonly tag: "Renew"; readonly tls: TlsMaterial }
  | { readonly tag: "Close"; readonly deadline: number }
