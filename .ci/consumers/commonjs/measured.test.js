const { timed, startHttpServer, startHttpServerInThread, webHandler } = require("effect-prometheus/Promises")
const { Histogram, register } = require("prom-client")

beforeEach(() => register.clear())

test("a function is measured, and the exposition has it", async () => {
  const seconds = new Histogram({ name: "job_seconds", help: "Jobs." })
  await timed(seconds)(async () => "done")()
  const response = await webHandler()(new Request("http://localhost/metrics"))
  expect(await response.text()).toContain("job_seconds_count 1")
})

test.each([startHttpServer, startHttpServerInThread])("a server serves the metrics of the test", async (start) => {
  const seconds = new Histogram({ name: "job_seconds", help: "Jobs." })
  await timed(seconds)(async () => "done")()
  const server = await start({ host: "127.0.0.1", log: false })
  const response = await fetch(server.url)
  expect(await response.text()).toContain("job_seconds_count 1")
  await server.close()
})

test("after the modules were reset, the copy serves the metrics of its own client", async () => {
  const warnings = []
  const emitWarning = jest.spyOn(process, "emitWarning").mockImplementation((message) => void warnings.push(message))
  jest.resetModules()
  const again = require("effect-prometheus")
  const { Counter } = require("prom-client")
  new Counter({ name: "second_total", help: "Of the second copy." }).inc(2)
  const { Effect } = require("effect")
  const { body } = await Effect.runPromise(again.Exposition.render())
  expect(body).toContain("second_total 2")
  expect(warnings).toHaveLength(1)
  expect(warnings[0]).toContain("its own copy of prom-client")
  emitWarning.mockRestore()
})
