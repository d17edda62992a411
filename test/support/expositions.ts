/** What the tests of the exposition share. */
import { Effect, Logger } from "effect"
import * as Exposition from "../../src/Exposition.js"
import type { MetricRegistry } from "../../src/Registry.js"
import { Registry } from "../../src/Registry.js"
import { parseOpenMetrics, parseText } from "./parser.js"
import type { Format } from "./registries.js"

export const formats: ReadonlyArray<Format> = ["text", "openmetrics"]

/** What Prometheus accepts, byte for byte. */
export const contentTypes: { readonly [F in Format]: string } = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
}

export const parsers = { text: parseText, openmetrics: parseOpenMetrics }

export const rendered = (registry: MetricRegistry, options?: Exposition.RenderOptions) =>
  Effect.provideService(Exposition.render(options), Registry, registry)

/** The body of a render in that format, which must succeed. */
export const bodyOf = (
  registry: MetricRegistry,
  format: Format,
  options?: Exposition.RenderOptions
): Effect.Effect<string> =>
  rendered(registry, { accept: contentTypes[format], ...options }).pipe(
    Effect.map(({ body }) => body),
    Effect.orDie
  )

/** A metric that no client made. */
export const metric = (name: string, type: unknown, values: ReadonlyArray<unknown>): never =>
  ({ name, help: "Made by hand.", type, get: async () => ({ name, help: "Made by hand.", type, values }) }) as never

/** A logger in the place of the default one, and the lines that it was told. */
export const logged = <A, E, R>(
  self: (lines: ReadonlyArray<string>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${[message].flat().map(String).join(" ")}`)
  })
  return Effect.provide(self(lines), Logger.replace(Logger.defaultLogger, logger))
}
