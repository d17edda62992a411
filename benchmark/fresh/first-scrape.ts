/**
 * Renders the registry of an ordinary service once, with the contender named as the argument, and sends the time.
 *
 * The application is running for every contender: an Effect program has read its services and waited for a promise. For
 * the library it has also mounted a metrics endpoint, which has received no request yet.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { Context, Effect } from "effect"
import { Exposition } from "effect-prometheus"
import { clients, ours } from "../contenders.js"
import { report } from "../fresh.js"
import { ordinary } from "../registries.js"
import { collectGarbage } from "../rounds.js"

class Started extends Context.Reference<Started>()("Started", { defaultValue: () => 0 }) {}
const application = Effect.flatMap(Started, (count) => Effect.tryPromise(async () => count + 1)).pipe(
  Effect.map((count) => count > 0),
  Effect.zipRight(Effect.void),
  Effect.provideService(Started, 1)
)
await Effect.runPromise(application)

const isOurs = process.argv[2] === "ours"
if (isOurs) await Effect.runPromise(Exposition.nodeListener())
// A scrape comes seconds after the start. By then the modules of the endpoint are loaded.
await sleep(500)

const { render } = (isOurs ? ours : clients)(ordinary)
collectGarbage()
const start = performance.now()
const rendered = await render()
const time = performance.now() - start
if (rendered.length < 1_000) throw new Error("the render is too short")
report({ time })
