/** The module that makes metrics, with either client in the place of `prom-client`, as an application puts it there. */
import { Effect } from "effect"
import type * as PromClient from "prom-client"
import { vi } from "vitest"
import type * as Registry from "../../src/Registry.js"

export interface WithClient {
  readonly name: string
  readonly client: typeof PromClient
  readonly Registry: typeof Registry
}

const withClient = async (name: string): Promise<WithClient> => {
  vi.resetModules()
  const installed = "../../src/core/client/installed.cjs"
  vi.doMock(installed, async () => ({
    default: { name, client: await vi.importActual(name), hasBothClients: () => false }
  }))
  const module = await import("../../src/Registry.js")
  vi.doUnmock(installed)
  return { name, client: await vi.importActual<typeof PromClient>(name), Registry: module }
}

const first = await withClient("prom-client")
const second = await withClient("@prometheus-io/client")

/** Both, each with a copy of the module of its own. */
export const bothClients: ReadonlyArray<WithClient> = [first, second]

/** A fresh registry, and how to have it in context. */
export const fresh = ({ Registry, client }: WithClient) => {
  const registry = new client.Registry()
  const on = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.provideService(effect, Registry.Registry, registry)
  return { registry, on }
}
