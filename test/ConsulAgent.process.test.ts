import { assert, describe } from "@effect/vitest"
import { runFixture } from "./support/childProcess.js"
import { type ConsulAgentStub, startConsulAgentStub } from "./support/consulAgentStub.js"
import { assertWithin, itInTime } from "./support/timing.js"

// What it asks until it is registered: a look, the registration, and what is read back.
const untilRegistered = 4

const concurrent = { concurrent: true }

describe("An application on the built package whose Consul agent", () => {
  const ends: ReadonlyArray<readonly [string, (agent: ConsulAgentStub) => boolean]> = [
    ["is well", () => false],
    [
      "goes down",
      ({ goDown }) => {
        goDown()
        return true
      }
    ],
    ["never answers again", () => true]
  ]
  for (const [how, answer] of ends) {
    for (const way of ["layer", "startHttpServer"]) {
      itInTime(
        `${how} is kept alive by nothing after it has closed the server of ${way}`,
        function* () {
          const agent: ConsulAgentStub = yield* startConsulAgentStub(
            () => agent.requests.length > untilRegistered && answer(agent)
          )
          const options = { address: agent.address, check: { ttl: "30 seconds" }, watchInterval: "20 millis" }
          const ended = yield* runFixture("consulRegistration.mjs", { args: [way, JSON.stringify(options)] })
          assert.deepStrictEqual({ code: ended.code, signal: ended.signal }, { code: 0, signal: null }, ended.stderr)
          assert.include(ended.stdout, "registered\n")
          assert.include(ended.stdout, "closed\n")
          assertWithin(ended.lingered, 3_000, "its end")
          if (how === "is well") assert.isEmpty([...agent.services.keys()])
          else assert.include(ended.stdout + ended.stderr, agent.address)
        },
        concurrent
      )
    }
  }
})
