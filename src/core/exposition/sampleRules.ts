/**
 * The rules of the formats for the samples of a family. A sample that breaks a rule is left out; each pair of family
 * and rule is logged once; everything else is served. The table of formats says which rules a format has.
 *
 * The text format allows sums and quantiles of negative observations, which make a sum decrease. In OpenMetrics a sum
 * is a counter: "Sum and buckets values are counters so MUST NOT be NaN or negative", and a histogram with a bucket
 * below 0 "MUST NOT" have a sum. A histogram has a count "if and only if a Sum value is present", so in OpenMetrics
 * such a histogram has neither sum nor count.
 */

const common = {
  labels: "samples with an invalid name or invalid labels are left out",
  value: "samples whose value is not a number are left out",
  counter: "samples that are NaN or negative are left out: a counter starts at 0 and increases",
  count: "a count that is NaN or negative is left out",
  quantile: "quantiles below 0 or above 1, and duplicate quantiles, are left out",
  bounds: "series whose bucket bounds do not increase are left out",
  buckets: "series whose bucket counts are negative, decrease, or do not end at the total count are left out"
}

const openMetrics = {
  wholeCount: "counts that are not whole numbers are left out in OpenMetrics",
  sum:
    "a sum that is NaN or negative is left out in OpenMetrics, where a sum is a counter; of a histogram, the count is " +
    "left out as well. The text format has both",
  negativeBounds:
    "the sum and the count are left out in OpenMetrics, which does not allow them for a histogram with buckets below 0. " +
    "The text format has both",
  negativeQuantile: "quantiles with a negative value are left out in OpenMetrics. The text format has them",
  exemplarOfUnknown:
    "its exemplars are left out: in OpenMetrics, the name of a counter must end in _total. Rename it to ",
  exemplarOfClash: "its exemplars are left out: it has type unknown in OpenMetrics, because its name clashes there",
  exemplarElsewhere: "exemplars are left out: OpenMetrics allows them only for counters and buckets",
  exemplarOutside: "exemplars with a value outside their bucket are left out",
  exemplar: "exemplars with invalid labels, labels of more than 128 characters, or an invalid value are left out"
}

const sentences = { ...common, ...openMetrics }

export type Rule = keyof typeof sentences

export const commonRules: ReadonlySet<Rule> = new Set(Object.keys(common) as ReadonlyArray<keyof typeof common>)

export const openMetricsRules: ReadonlySet<Rule> = new Set(Object.keys(sentences) as ReadonlyArray<Rule>)

export class Notices {
  /** Sentences, keyed by their subject. */
  readonly all = new Map<string, string>()

  readonly leaveOut = (family: string, rule: Rule): void => {
    const key = `${family} ${rule}`
    if (this.all.has(key)) return
    this.all.set(key, `metric ${family}: ${sentences[rule]}${rule === "exemplarOfUnknown" ? `${family}_total` : ""}`)
  }

  /** Without `about`, the sentence is its own key. */
  add(sentence: string, about = sentence): void {
    this.all.set(about, sentence)
  }

  /** Counters that have type unknown in the format because of another family. */
  clash(clashes: ReadonlyMap<string, string>): void {
    for (const [name, other] of clashes) {
      this.add(
        `the counter ${name} has type unknown in OpenMetrics, because its family name there clashes with the metric ${other}`
      )
    }
  }
}

/** For a family that is neither a histogram nor a summary. */
export const ruleBrokenBy = (value: unknown, isCounter: boolean): Rule | undefined => {
  if (typeof value !== "number" && typeof value !== "bigint") return "value"
  return isCounter && !(value >= 0) ? "counter" : undefined
}
