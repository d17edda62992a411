/** A server under measurement: it listens, or it answers requests of its own process. */
import type { Size } from "./exchanges.js"

export type Running = { readonly port: number } | { readonly answer: (request: Request) => Promise<Response> }

export type Start = (size: Size) => Promise<Running>

/** By name: `bare` has no metrics; the others have them. */
export type Contenders = { readonly bare: Start } & { readonly [name: string]: Start }
