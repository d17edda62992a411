import { assert, describe, it } from "@effect/vitest"
// Which connection goes depends on times, which a server shows on an idle machine only.
import { ConnectionSlots, type SlotHolder } from "../src/core/server/connectionSlots.js"
import { now } from "../src/core/util/realTimers.js"

interface Named extends SlotHolder {
  readonly name: string
}

const guest = (name: string, given: Partial<SlotHolder>): Named => ({
  name,
  isAuthorized: false,
  since: now(),
  requests: 0,
  responseReadySince: undefined,
  httpSocket: { readableEnded: false },
  ...given
})

const stranger = (name: string, waited = 0) => guest(name, { since: now() - waited })
const idle = (name: string) => guest(name, { isAuthorized: true })
const busy = (name: string, given: Partial<SlotHolder> = {}) =>
  guest(name, { isAuthorized: true, requests: 1, ...given })
const idles = (count: number) => Array.from({ length: count }, (_, index) => idle(`idle ${index}`))

const rows: ReadonlyArray<{
  readonly title: string
  readonly guests: ReadonlyArray<Named>
  readonly goes: string | undefined
}> = [
  {
    title: "of those that were not let in, the one that has waited longest",
    guests: [stranger("a", 900), stranger("b", 800), busy("c")],
    goes: "a"
  },
  {
    title: "an idle one, while a quarter of the places is not taken by new connections",
    guests: [...idles(7), stranger("new")],
    goes: "idle 0"
  },
  {
    title: "one of the new connections that have a quarter of the places",
    guests: [...idles(6), stranger("new"), stranger("newer")],
    goes: "new"
  },
  {
    title: "one that was not let in for more than a second, however few there are",
    guests: [...idles(7), stranger("silent", 1_500)],
    goes: "silent"
  },
  {
    title: "one that was not let in before one that does not take its answer",
    guests: [busy("slow", { responseReadySince: now() - 5_000 }), stranger("new")],
    goes: "new"
  },
  {
    title: "an idle one before one that does not take its answer",
    guests: [busy("slow", { responseReadySince: now() - 5_000 }), idle("idle")],
    goes: "idle"
  },
  {
    title: "one whose client has ended its side",
    guests: [busy("a"), busy("gone", { httpSocket: { readableEnded: true } }), busy("slow", { responseReadySince: 0 })],
    goes: "gone"
  },
  {
    title: "the one that has not taken its answer for longest, and for more than a second",
    guests: [
      busy("a"),
      busy("b", { responseReadySince: now() - 2_000 }),
      busy("c", { responseReadySince: now() - 3_000 })
    ],
    goes: "c"
  },
  {
    title: "no connection if all wait for a response, or have just got one",
    guests: [busy("a"), busy("b", { responseReadySince: now() }), busy("c")],
    goes: undefined
  }
]

describe("One more connection takes the place of", () => {
  for (const { goes, guests, title } of rows) {
    it(title, () => {
      const places = new ConnectionSlots<Named>(8)
      for (const each of guests) places.put(each)
      assert.strictEqual(places.leastNeeded()?.name, goes)
    })
  }

  it("the idle one that was used the longest time ago", () => {
    const places = new ConnectionSlots<Named>(3)
    const [first, ...others] = idles(3)
    if (first === undefined) return assert.fail("there are three")
    for (const each of [first, ...others, first]) places.put(each)
    assert.isTrue(places.isFull)
    assert.strictEqual(places.leastNeeded()?.name, "idle 1")
  })
})
