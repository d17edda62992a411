/** Renders expositions, and asserts that all read paths give the same bytes. */
import { assert } from "@effect/vitest"
import { Effect, Logger, LogLevel } from "effect"
import type { YieldWrap } from "effect/Utils"
import { checkDirectReads } from "../../src/core/client/directReadCheck.js"
import * as Exposition from "../../src/Exposition.js"
import { type MetricRegistry, Registry } from "../../src/Registry.js"
import type { Format } from "./arbitraryRegistries.js"
import { parseOpenMetrics, parseText } from "./expositionParser.js"
import { hasNoCollect, withoutDirectRead } from "./readPaths.js"

export const formats: ReadonlyArray<Format> = ["text", "openmetrics"]

/** The content types, byte for byte. */
export const contentTypes: { readonly [F in Format]: string } = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
}

export const parsers = { text: parseText, openmetrics: parseOpenMetrics }

/** One exposition. */
export const renderedOnce = (registry: MetricRegistry, options?: Exposition.RenderOptions) =>
  Effect.provideService(Exposition.render(options), Registry, registry)

// It is looked for once; without it the tests would see one way only.
await checkDirectReads()

const keepingFaces = ["getForPromString", "whole"] as const

// For each registry those whose metrics are asked, and of which something is kept from one time to the next.
const fallbacks = new WeakMap<MetricRegistry, ReadonlyArray<MetricRegistry>>()

const fallbacksOf = (registry: MetricRegistry): ReadonlyArray<MetricRegistry> => {
  const known = fallbacks.get(registry) ?? keepingFaces.map((face) => withoutDirectRead(registry, face))
  fallbacks.set(registry, known)
  return known
}

/** An exposition, which is the same in whichever way it comes about, and for the first time as for the next ones. */
export const rendered = (registry: MetricRegistry, options: Exposition.RenderOptions = {}) =>
  Effect.gen(function* () {
    const exposition = yield* renderedOnce(registry, options)
    // Those who count failures, or how often a metric is collected, would see it.
    if (options.onError !== undefined || !hasNoCollect(registry)) return exposition
    const others = [registry, withoutDirectRead(registry), ...fallbacksOf(registry), ...fallbacksOf(registry)]
    for (const other of others) {
      const again = yield* Logger.withMinimumLogLevel(renderedOnce(other, options), LogLevel.None)
      assert.deepStrictEqual(again, exposition)
    }
    return exposition
  })

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

/** The same of one exposition. */
export const bodyOnce = (registry: MetricRegistry, format: Format): Effect.Effect<string> =>
  renderedOnce(registry, { accept: contentTypes[format] }).pipe(
    Effect.map(({ body }) => body),
    Effect.orDie
  )

/** A metric that no client made. */
export const metric = (name: string, type: unknown, values: ReadonlyArray<unknown>): never =>
  ({ name, help: "Made by hand.", type, get: async () => ({ name, help: "Made by hand.", type, values }) }) as never

/** Runs it with a logger that replaces the default one, and gives it the lines. */
export const logged = <Eff extends YieldWrap<Effect.Effect<unknown, unknown, unknown>>, A>(
  self: (lines: ReadonlyArray<string>) => Generator<Eff, A, never>
) => {
  const lines: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    lines.push(`${logLevel.label} ${[message].flat().map(String).join(" ")}`)
  })
  return Effect.provide(
    Effect.gen(() => self(lines)),
    Logger.replace(Logger.defaultLogger, logger)
  )
}
