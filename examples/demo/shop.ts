/** A little shop: the application that the demo measures. */
import { HttpRouter, HttpServerResponse } from "@effect/platform"
import { Cause, Data, Effect, Exit, Random } from "effect"
import { Metrics } from "effect-prometheus"
import { Counter, Gauge, Histogram } from "prom-client"

class CardDeclined extends Data.TaggedError("CardDeclined")<{ readonly bank: string }> {}
class ReportNotFound extends Data.TaggedError("ReportNotFound")<{ readonly id: string }> {}

const requestSeconds = new Histogram({
  name: "shop_request_seconds",
  help: "Time spent in requests, in seconds.",
  labelNames: ["route", "outcome"]
})
const requestFailures = new Counter({
  name: "shop_request_failures_total",
  help: "Requests that failed, expectedly or not.",
  labelNames: ["route"]
})
const requestsInProgress = new Gauge({
  name: "shop_requests_in_progress",
  help: "Requests that are being answered now.",
  labelNames: ["route"]
})
const paymentSeconds = new Histogram({ name: "shop_payment_seconds", help: "Time that the bank takes, in seconds." })
const cardsDeclined = new Counter({ name: "shop_cards_declined_total", help: "Payments that the bank declined." })
const reportsInProgress = new Gauge({ name: "shop_reports_in_progress", help: "Reports that are being written now." })

const outcomeOf = (exit: Exit.Exit<unknown, unknown>) => {
  if (Exit.isSuccess(exit)) return { outcome: "success" }
  if (Cause.isDie(exit.cause)) return { outcome: "defect" }
  return { outcome: Cause.isInterruptedOnly(exit.cause) ? "interrupted" : "failure" }
}

// The label is the pattern of the route and not the path that was asked for: of those there is no end.
const route = <E, R>(
  path: HttpRouter.PathInput,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
  name: string = path
) => {
  // Without a 0 to begin with, Prometheus would not see the first failure as an increase.
  requestFailures.inc({ route: name }, 0)
  const measured = Metrics.instrumented(handler, {
    duration: { metric: requestSeconds, labels: (exit) => ({ route: name, ...outcomeOf(exit) }) },
    exceptions: { metric: requestFailures, labels: { route: name } },
    inprogress: { metric: requestsInProgress, labels: { route: name } }
  })
  return HttpRouter.get(path, measured)
}

const takes = (from: number, to: number) => Effect.flatMap(Random.nextIntBetween(from, to), (ms) => Effect.sleep(ms))
const sometimes = (probability: number) => Effect.map(Random.next, (drawn) => drawn < probability)

const payment = Effect.gen(function* () {
  yield* takes(30, 120)
  if (yield* sometimes(0.1)) return yield* new CardDeclined({ bank: "First Bank of Examples" })
})

const checkout = payment.pipe(
  Metrics.timed(paymentSeconds),
  Metrics.countExceptions(cardsDeclined, { only: { tag: "CardDeclined" } }),
  Effect.zipRight(HttpServerResponse.text("Thank you for your order.\n"))
)

const search = Effect.gen(function* () {
  yield* takes(5, 40)
  if (yield* sometimes(0.02)) return yield* Effect.dieMessage("the search index is corrupt")
  return yield* HttpServerResponse.text("Three kinds of tea, and a teapot.\n")
})

const report = Effect.gen(function* () {
  const { id = "" } = yield* HttpRouter.params
  if (Number(id) > 90) return yield* new ReportNotFound({ id })
  yield* Metrics.trackInprogress(takes(200, 1_200), reportsInProgress)
  return yield* HttpServerResponse.text(`Report ${id}: business is good.\n`)
})

const front = HttpServerResponse.html(
  `<h1>A little shop</h1><a href="/checkout">checkout</a> <a href="/search">search</a> <a href="/reports/7">report 7</a>`
)

/** The application. Its errors become answers out here, after they have been measured as what they are. */
export const shop = HttpRouter.empty.pipe(
  route("/", front),
  route("/checkout", checkout),
  route("/search", search),
  route("/reports/:id", report),
  route("*", HttpServerResponse.text("There is no such page.\n", { status: 404 }), "unmatched"),
  HttpRouter.catchTags({
    CardDeclined: ({ bank }) => HttpServerResponse.text(`${bank} declined your card.\n`, { status: 402 }),
    ReportNotFound: ({ id }) => HttpServerResponse.text(`There is no report ${id}.\n`, { status: 404 })
  })
)
