/** The traffic of the demo: visitors that come and go in waves, over HTTP like everybody else. */
import { HttpClient } from "@effect/platform"
import { Clock, Effect, Random, Ref } from "effect"

const pages = Effect.gen(function* () {
  const drawn = yield* Random.nextIntBetween(0, 100)
  if (drawn < 45) return "/search"
  if (drawn < 75) return "/checkout"
  if (drawn < 95) return `/reports/${yield* Random.nextIntBetween(1, 100)}`
  return `/nowhere-${drawn}`
})

// A quiet and a busy half of each minute, so that there is something to see in a graph.
const pause = Effect.flatMap(Clock.currentTimeMillis, (now) => {
  const quiet = 1 + Math.sin((now / 60_000) * 2 * Math.PI)
  return Effect.sleep(50 + 300 * quiet)
})

const visitor = (origin: string, sent: Ref.Ref<number>) =>
  Effect.gen(function* () {
    const page = yield* pages
    yield* Ref.update(sent, (count) => count + 1)
    // Some have no patience for the slower reports: such a request is interrupted in the application.
    yield* HttpClient.get(`${origin}${page}`).pipe(
      Effect.flatMap((response) => response.text),
      Effect.timeout("1 second"),
      Effect.ignore
    )
    yield* pause
  }).pipe(Effect.forever)

/** Visitors that go round until they are interrupted. `sent` counts their requests. */
export const visitors = (origin: string, sent: Ref.Ref<number>) =>
  Effect.all(
    Array.from({ length: 12 }, () => visitor(origin, sent)),
    { concurrency: "unbounded", discard: true }
  )
