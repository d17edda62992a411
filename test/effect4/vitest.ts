/** `@effect/vitest` for Effect 3, on the one for Effect 4, whose tests are always scoped. */
import { it as tests } from "@effect/vitest"

export * from "@effect/vitest"

export const it = Object.assign(tests, { scoped: tests.effect, scopedLive: tests.live })
