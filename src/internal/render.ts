/** Reads a registry, metric by metric, and encodes it. One metric that fails does not keep the others from being read. */
import type { FamilyInfo, Sample, Style } from "./encoder.js"
import { encodeSamples } from "./encoder.js"
import type { Ask } from "./endpoint.js"
import type { HistogramInfo, HistogramSeries } from "./histogram.js"
import { encodeHistogram, IrregularError } from "./histogram.js"
import type { SharingSample } from "./histogramSamples.js"
import { seriesOf, withOwnLabels } from "./histogramSamples.js"
import { Kept } from "./kept.js"
import type { LabelTexts } from "./labelText.js"
import { labelText, someLabels } from "./labelText.js"
import type { Families } from "./nameConflicts.js"
import type { Progress } from "./pace.js"
import { Pace } from "./pace.js"
import type { Leaving } from "./readings.js"
import { Readings } from "./readings.js"
import { Forbidden } from "./sampleRules.js"
import type { SourceFamily } from "./sources.js"
import { sourced } from "./sources.js"
import type { Metric, Shortcuts } from "./store.js"
import { keepsHistogram, keepsSamples, storedPieces } from "./store.js"
import { nextTurn, now } from "./timer.js"
import { roomForValue, Writer } from "./writer.js"

/** What is asked of a registry here. */
export interface Readable {
  getMetricsAsArray(): ReadonlyArray<object>
  getSingleMetric(name: string): unknown
}

/** Families in the order of the registry, and the metrics that could not be read. */
export interface Rendered {
  /** All but the epilogue of the format. */
  readonly writer: Writer
  readonly families: ReadonlyArray<WrittenFamily>
  /** The labels that every series has which has no other value for them. */
  readonly defaults: LabelTexts | undefined
  readonly failures: ReadonlyArray<Failure>
  /** Why it is not whole: its time was over. */
  readonly stopped: Stopped | undefined
  /** The longest time that this thread worked on it without giving way, in milliseconds. */
  readonly heldFor: number
  /** What is left out, and counters that cannot be one in OpenMetrics: sentences, by what they are about. */
  readonly notices: ReadonlyMap<string, string>
}

/** One family, under the name that it is registered by, with its length in bytes. */
export interface WrittenFamily {
  readonly name: string
  readonly length: number
}

/** The metrics that had been asked and had not answered when the time was over, or else the one that came next. */
export interface Stopped {
  readonly names: ReadonlyArray<string>
  readonly isWaiting: boolean
}

/** A metric that could not be read, and what it threw. */
export interface Failure {
  readonly name: string
  readonly metric: object
  readonly error: unknown
  /** What has failed, if it is a reading: other renders may have failed with the same one. */
  readonly reading: object | undefined
}

type Registered = FamilyInfo & Metric

/** What there is to write: a metric of the registry, or a family of one of its sources. */
type Entry =
  | { readonly name: string; readonly type: unknown; readonly metric: Registered; readonly isSourced: false }
  | { readonly name: string; readonly type: unknown; readonly metric: SourceFamily; readonly isSourced: true }

// So many series are read, and then written, before the time is looked at.
const pieceSize = 256

// What is assumed of the first exposition of a registry, in bytes. Memory that is not written to costs next to nothing.
const unknownSize = 524_288

// The texts of a metric's series go with the metric.
const texts = new WeakMap<object, Kept>()

// The last run for all families of a registry: it tells how much memory the next one will need. (And there is always
// one, for the same reason as there is always a walk.)
const lastRuns = new WeakMap<object, Run>()

/** What a run of the renderer has in its hands, beside the bytes. */
interface Run {
  readonly style: Style
  /** The names of all families, whichever are asked for. */
  readonly taken: Families
  readonly shortcuts: Shortcuts
  readonly pace: Pace
  readonly readings: Readings
  /** How many bytes came of it. */
  size: number
}

/** What a render can be given. */
export interface Rendering {
  /**
   * Is told when this thread begins to work without giving way, and when it gives way or waits for metrics that are
   * collected asynchronously.
   */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** To write into, for those who give it back: an exposition that is handed out would hold all of it. */
  readonly memory?: Writer | undefined
  /**
   * The moment of `now()` at which it stops, between two families, and the one up to which metrics are waited for;
   * default: never.
   */
  readonly deadline?: { readonly at: number; readonly patience: number } | undefined
  /** Stops it before. */
  readonly leaving?: Leaving | undefined
}

/**
 * Renders the metrics with those `names`, or all of them, and gives way to the event loop every few milliseconds. It
 * rejects only if the registry itself cannot be read.
 */
export const render = async (
  registry: Readable,
  { format, names }: Pick<Ask, "format" | "names">,
  shortcuts: Shortcuts,
  { deadline, memory, onProgress = () => {}, leaving }: Rendering = {}
): Promise<Rendered> => {
  const registered = (registry.getMetricsAsArray() as ReadonlyArray<Registered>).map(
    (metric): Entry => ({ metric, name: registeredName(registry, metric), type: metric.type, isSourced: false })
  )
  const forbidden = new Forbidden()
  const defaults = defaultLabels(registry, forbidden)
  const pace = new Pace(onProgress)
  const { families: added, leftOut, metrics, names: taken } = await pace.along(sourced(registry, registered))
  for (const sentence of leftOut) forbidden.notices.set(sentence, sentence)
  const more = added.map((metric): Entry => ({ metric, name: metric.name, type: metric.type, isSourced: true }))
  const all = [...metrics, ...more]
  const wanted = names === undefined ? undefined : new Set(names)
  const chosen = wanted === undefined ? all : all.filter(({ name }) => wanted.has(name))
  const { clashes } = taken
  if (format === "openmetrics") forbidden.clash(clashes)
  const writer = memory ?? new Writer(names === undefined ? capacityFor(registry) : undefined)
  const families: Array<WrittenFamily> = []
  const failures: Array<Failure> = []
  let stopped: Stopped | undefined
  const readings = new Readings(pace, { until: deadline?.patience, leaving })
  const isOver = (): boolean => leaving?.hasLeft === true || (deadline !== undefined && now() >= deadline.at)
  const style = { format, defaults, clashes, leaveOut: forbidden.leaveOut }
  const run: Run = { style, taken, shortcuts, pace, readings, size: 0 }
  // Those that may take their time are asked at once, so that they take it together.
  for (const { isSourced, metric } of chosen) {
    if (!isSourced && mayTakeTime(metric) && !isOver()) readings.begin(metric)
  }
  for (const entry of chosen) {
    const { name } = entry
    if (isOver()) {
      // What has its answer ready is not waited for.
      await nextTurn()
      stopped = stoppedAt(name, chosen, readings)
      break
    }
    const start = writer.length
    try {
      if (entry.isSourced) await writeSourced(writer, entry.metric, run)
      else await writeFamily(writer, entry.metric, name, run)
      families.push({ name, length: writer.length - start })
    } catch (error) {
      // Nothing stays of one that fails half way.
      writer.length = start
      failures.push({ name, metric: entry.metric, error, reading: readings.failed(entry.metric) })
    }
  }
  pace.stop()
  readings.end()
  run.size = writer.length
  if (names === undefined && stopped === undefined) lastRuns.set(registry, run)
  return { writer, families, defaults, failures, stopped, heldFor: pace.longest, notices: forbidden.notices }
}

// Both clients keep them there, and offer no way to read them that does not read every metric as well. They are those of
// the moment in which it begins.
const defaultLabels = (registry: Readable, { notices }: Forbidden): LabelTexts | undefined => {
  const given = (registry as { readonly _defaultLabels?: unknown })._defaultLabels
  const defaults = someLabels(given)
  for (const name of Object.keys(given ?? {})) {
    const isValid = defaults !== undefined && Object.hasOwn(defaults, name)
    const why = isValid ? ownOf[name] : ": its name or its value is not valid"
    if (why !== undefined) notices.set(`default label ${name}`, `the default label ${name} is left out${why}`)
  }
  return defaults
}

const ownOf: { readonly [name: string]: string | undefined } = Object.assign(Object.create(null), {
  le: " of histograms, which have one themselves",
  quantile: " of summaries, which have one themselves"
})

const stoppedAt = (next: string, chosen: ReadonlyArray<Entry>, readings: Readings): Stopped => {
  const pending = readings.pending()
  const names = chosen.flatMap(({ isSourced, metric, name }) => (!isSourced && pending.has(metric) ? [name] : []))
  return names.length > 0 ? { names, isWaiting: true } : { names: [next], isWaiting: false }
}

const writeFamily = async (writer: Writer, metric: Registered, name: string, run: Run): Promise<void> => {
  const { pace, readings, shortcuts, style } = run
  const kept = keptOf(metric, name, style)
  const family = { name, help: metric.help, type: metric.type }
  if (keepsSamples(metric, shortcuts)) {
    return pace.along(encodeSamples(writer, family, storedPieces(metric, pieceSize), style, kept))
  }
  const isStored = keepsHistogram(metric, shortcuts)
  if (isStored) {
    const { upperBounds } = metric
    if (await wroteSeries(writer, { ...family, upperBounds }, storedPieces(metric, pieceSize), run, kept)) return
  }
  const { help, type: given, values } = await readings.of(metric)
  // A metric made by hand may say what it is only when it is read.
  const type = given === metric.type || run.taken.canBe(name, given) ? given : undefined
  // Labels that stored series cannot have, those that are told cannot have either.
  const upperBounds = type === "histogram" && !isStored ? boundsOf(metric) : undefined
  if (upperBounds !== undefined) {
    const info = { name, help, type, upperBounds }
    if (await wroteSeries(writer, info, seriesOf(values, info, pieceSize), run, kept)) return
  }
  await pace.along(encodeSamples(writer, { name, help, type }, piecesOf(values), style, kept))
}

const writeSourced = async (writer: Writer, family: SourceFamily, run: Run): Promise<void> => {
  const { pace, style } = run
  const kept = keptOf(family, family.name, style)
  const { help, name, type, upperBounds } = family
  const info = { help, name, type }
  const series = family.series?.(pieceSize)
  if (upperBounds !== undefined && series !== undefined) {
    if (await wroteSeries(writer, { ...info, upperBounds }, series, run, kept)) return
  }
  await pace.along(encodeSamples(writer, info, family.samples(pieceSize), style, kept))
}

// Whether a histogram could be written series by series. Where it could not, nothing is written.
const wroteSeries = async (
  writer: Writer,
  info: HistogramInfo,
  pieces: Iterable<ReadonlyArray<HistogramSeries>>,
  { pace, style }: Run,
  kept: Kept | undefined
): Promise<boolean> => {
  const start = writer.length
  try {
    await pace.along(encodeHistogram(writer, info, pieces, style, kept))
    return true
  } catch (error) {
    if (!(error instanceof IrregularError)) throw error
    writer.length = start
    return false
  }
}

// A histogram of the clients has its bounds; of any other one nothing is known.
const boundsOf = (metric: object): ReadonlyArray<number> | undefined => {
  const { upperBounds } = metric as { readonly upperBounds?: unknown }
  return Array.isArray(upperBounds) ? upperBounds : undefined
}

// Some larger than the last time, because numbers grow and room is reserved for the longest.
const capacityFor = (registry: Readable): number => {
  const size = lastRuns.get(registry)?.size ?? unknownSize
  return size + size / 16 + pieceSize * roomForValue
}

// Not from the first time on: most of what the first exposition costs would be to keep what may never be asked for again.
const keptOf = (metric: object, name: string, { defaults }: Style): Kept | undefined => {
  const known = texts.get(metric)
  const key = `${name}{${labelText(defaults)}}`
  if (known?.key === key) return known
  const kept = new Kept(key)
  texts.set(metric, kept)
  return known && kept
}

function* piecesOf(samples: ReadonlyArray<SharingSample>): Generator<ReadonlyArray<Sample>> {
  for (let start = 0; start < samples.length; start += pieceSize) {
    yield samples.slice(start, start + pieceSize).map(withOwnLabels)
  }
}

// A metric of the clients that has no `collect` answers at once.
const mayTakeTime = (metric: Registered): boolean => metric.collect !== undefined || !("labelNames" in metric)

// When prom-client renders OpenMetrics itself, it takes `_total` off the counters for good. The registry still knows
// each of them by the name that it was given.
const registeredName = (registry: Readable, metric: FamilyInfo): string => {
  if (metric.type !== "counter") return metric.name
  const name = `${metric.name}_total`
  return registry.getSingleMetric(name) === metric ? name : metric.name
}
