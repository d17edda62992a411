import { createHook } from "node:async_hooks"
import { randomBytes } from "node:crypto"
import { gunzipSync } from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
// How many threads of the pool are taken shows to no client.
import { encodingFor } from "../src/core/server/compression.js"

const compress = async (body: Uint8Array): Promise<Uint8Array> => encodingFor("gzip")?.compress(body) ?? body

/** How many compressions begin while something is done at once. */
const begunBy = (act: () => void): number => {
  let begun = 0
  const hook = createHook({
    init: (_, type) => {
      if (type === "ZLIB") begun += 1
    }
  }).enable()
  act()
  hook.disable()
  return begun
}

describe("Compression takes at most two threads of the pool at once", () => {
  const body = randomBytes(100_000)
  const rows = [
    { title: "for one body", bodies: [body], expected: 1 },
    { title: "for three bodies", bodies: Array.from({ length: 3 }, () => randomBytes(100_000)), expected: 2 },
    { title: "for eight bodies", bodies: Array.from({ length: 8 }, () => randomBytes(100_000)), expected: 2 }
  ]
  for (const { title, bodies, expected } of rows) {
    it(title, async () => {
      let zipped: ReadonlyArray<Promise<Uint8Array>> = []
      const begun = begunBy(() => {
        zipped = bodies.map((each) => compress(each))
      })
      assert.strictEqual(begun, expected)
      for (const [index, each] of (await Promise.all(zipped)).entries()) {
        assert.isTrue(gunzipSync(each).equals(bodies[index] ?? Buffer.of()))
      }
    })
  }

  it("for eight who share a body: one", async () => {
    const shared = Buffer.from(body)
    let zipped: ReadonlyArray<Promise<Uint8Array>> = []
    assert.strictEqual(
      begunBy(() => {
        zipped = Array.from({ length: 8 }, () => compress(shared))
      }),
      1
    )
    assert.strictEqual(new Set(await Promise.all(zipped)).size, 1)
  })
})
