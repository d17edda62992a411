/** The traffic of the demo: visitors that send HTTP requests, in waves. */
import { HttpClient } from "@effect/platform"
import { Clock, Effect, Random, Ref } from "effect"

const pages = Effect.gen(function* () {
  const drawn = yield* Random.nextIntBetween(0, 100)
  if (drawn < 45) return "/search"
  if (drawn < 75) return "/checkout"
  if (drawn < 95) return `/reports/${yield* Random.nextIntBetween(1, 100)}`
  return `/nowhere-${drawn}`
})

// Half of each minute is quiet and half is busy, so that graphs change.
const pause = Effect.flatMap(Clock.currentTimeMillis, (now) => {
  const quiet = 1 + Math.sin((now / 60_000) * 2 * Math.PI)
  return Effect.sleep(50 + 300 * quiet)
})

const visitor = (origin: string, sent: Ref.Ref<number>) =>
  Effect.gen(function* () {
    const page = yield* pages
    yield* Ref.update(sent, (count) => count + 1)
    // Some slow reports time out here, which interrupts the request in the application.
    yield* HttpClient.get(`${origin}${page}`).pipe(
      Effect.flatMap((response) => response.text),
      Effect.timeout("1 second"),
      Effect.ignore
    )
    yield* pause
  }).pipe(Effect.forever)

/** Visitors that send requests until they are interrupted. `sent` counts the requests. */
export const visitors = (origin: string, sent: Ref.Ref<number>) =>
  Effect.all(
    Array.from({ length: 12 }, () => visitor(origin, sent)),
    { concurrency: "unbounded", discard: true }
  )
