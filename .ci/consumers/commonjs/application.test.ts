import { Test } from "@nestjs/testing"
import { Effect } from "effect"
import { Exposition, Metrics, Registry as Registries } from "effect-prometheus"
import { Registry, register } from "prom-client"
import request from "supertest"
import { Application } from "./application"

test("the test helper of NestJS measures requests by route pattern", async () => {
  const built = await Test.createTestingModule({ imports: [Application] }).compile()
  const application = built.createNestApplication()
  await application.init()
  await request(application.getHttpServer()).get("/users/7").expect(200, "user 7")
  const { text } = await request(application.getHttpServer()).get("/metrics").expect(200)
  expect(text).toContain('http_server_requests_total{method="GET",route="/users/:id",status="200"} 1\n')
  expect(text).toContain('lookup_seconds_count{kind="user"} 1\n')
  await application.close()
})

test("effects have a fresh registry for each test", async () => {
  const program = Effect.gen(function* () {
    const failures = yield* Registries.counter({ name: "failures_total", help: "Failures." })
    yield* Effect.ignore(Metrics.countExceptions(Effect.fail("no"), failures))
    return (yield* Exposition.render()).body
  })
  for (let run = 0; run < 2; run += 1) {
    expect(await Effect.runPromise(Effect.provide(program, Registries.layerFresh))).toContain("failures_total 1\n")
  }
  expect(register).toBeInstanceOf(Registry)
})
