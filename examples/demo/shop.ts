/** A small shop: the application that the demo measures. */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { Data, Effect, Exit, Metric, Queue, Random, Schedule, Stream } from "effect"
import { Metrics, Registry, StreamMetrics } from "effect-prometheus"

class CardDeclined extends Data.TaggedError("CardDeclined")<{ readonly bank: string }> {}
class ReportNotFound extends Data.TaggedError("ReportNotFound")<{ readonly id: string }> {}

// `Registry` returns existing metrics, so that this module can be loaded twice. `HttpMetrics` measures the requests.
const metrics = Effect.all({
  paymentSeconds: Registry.histogram({
    name: "shop_payment_seconds",
    help: "Time that the bank takes, in seconds.",
    labelNames: ["outcome"],
    series: { outcome: ["paid", "declined"] },
    // Each exemplar links to the trace of a payment.
    enableExemplars: true
  }),
  cardsDeclined: Registry.counter({
    name: "shop_cards_declined_total",
    help: "Payments that the bank declined.",
    labelNames: ["bank"],
    // The names of banks are not under our control: the 11th bank and all later ones share one series.
    maxSeries: 10
  }),
  reportSeconds: Registry.histogram({
    name: "shop_report_seconds",
    help: "Time until a report is written, in seconds."
  }),
  reportLines: Registry.counter({ name: "shop_report_lines_total", help: "Lines of reports that were written." }),
  reportsInProgress: Registry.gauge({
    name: "shop_reports_in_progress",
    help: "Reports that are being written now."
  })
})

// `EffectMetrics` exposes these metrics of Effect.
const searches = Metric.frequency("shop_searches", { description: "Searches, by what was searched for." })
const searchTimer = Metric.timer("shop_search", "Time that a search takes.")

const takes = (from: number, to: number) => Effect.flatMap(Random.nextIntBetween(from, to), (ms) => Effect.sleep(ms))
const sometimes = (probability: number) => Effect.map(Random.next, (drawn) => drawn < probability)
const oneOf = (...all: ReadonlyArray<string>) =>
  Effect.map(Random.nextIntBetween(0, all.length), (index) => all[index] ?? "")

const payment = Effect.gen(function* () {
  yield* takes(30, 120)
  if (yield* sometimes(0.1)) return yield* new CardDeclined({ bank: yield* oneOf("First", "Second", "Third") })
})

const search = Effect.gen(function* () {
  yield* Metric.update(searches, yield* oneOf("tea", "pot", "cup"))
  yield* takes(5, 40)
  if (yield* sometimes(0.02)) return yield* Effect.dieMessage("the search index is corrupt")
  return yield* HttpServerResponse.text("Three kinds of tea, and a teapot.\n")
}).pipe(Metric.trackDuration(searchTimer))

const lines = (id: string, count: number) =>
  Stream.range(1, count).pipe(
    Stream.schedule(Schedule.spaced("30 millis")),
    Stream.map((line) => `Report ${id}, line ${line}: business is good.\n`)
  )

const front = HttpServerResponse.html(
  `<h1>A little shop</h1><a href="/checkout">checkout</a> <a href="/search">search</a> <a href="/reports/7">report 7</a>`
)

/** The application. Errors become responses here, after the combinators have measured them as errors. */
export const shop = Effect.gen(function* () {
  const { cardsDeclined, paymentSeconds, reportLines, reportSeconds, reportsInProgress } = yield* metrics

  // Orders wait to be packed. Each scrape reads how many.
  const orders = yield* Queue.unbounded<string>()
  yield* Registry.gaugeEffect({
    name: "shop_orders_waiting",
    help: "Orders that are not packed yet.",
    value: Queue.size(orders)
  })
  yield* Queue.take(orders).pipe(Effect.zipRight(takes(50, 400)), Effect.forever, Effect.forkScoped)

  const checkout = payment.pipe(
    Metrics.timed(paymentSeconds, {
      labels: (exit) => ({ outcome: Exit.isSuccess(exit) ? "paid" : "declined" }),
      exemplar: "currentSpan"
    }),
    Effect.tapErrorTag("CardDeclined", ({ bank }) => Effect.sync(() => cardsDeclined.inc({ bank }))),
    Effect.zipRight(Queue.offer(orders, "tea")),
    Effect.zipRight(HttpServerResponse.text("Thank you for your order.\n"))
  )

  const report = Effect.gen(function* () {
    const { id = "" } = yield* HttpRouter.params
    if (Number(id) > 90) return yield* new ReportNotFound({ id })
    const measured = lines(id, yield* Random.nextIntBetween(5, 45)).pipe(
      StreamMetrics.instrumented({
        duration: reportSeconds,
        elements: reportLines,
        inProgress: reportsInProgress
      })
    )
    return HttpServerResponse.stream(Stream.encodeText(measured), { contentType: "text/plain" })
  })

  return HttpRouter.empty.pipe(
    HttpRouter.get("/", front),
    HttpRouter.get("/checkout", checkout),
    HttpRouter.get("/search", search),
    HttpRouter.get("/reports/:id", report),
    HttpRouter.catchTags({
      CardDeclined: ({ bank }) => HttpServerResponse.text(`${bank} Bank declined your card.\n`, { status: 402 }),
      ReportNotFound: ({ id }) => HttpServerResponse.text(`There is no report ${id}.\n`, { status: 404 })
    })
  )
})
