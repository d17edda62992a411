/**
 * What the formats forbid in the samples of a family. What breaks a rule is left out, is logged once per family and rule,
 * and all else is served.
 *
 * - Text 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats, and what the type of a family means.
 * - OpenMetrics 1.0: https://prometheus.io/docs/specs/om/open_metrics_spec, "Metric Types" and "Exemplars".
 *
 * Text has sums and quantiles of negative observations, which make a sum go down. In OpenMetrics a sum is a counter: "Sum
 * and buckets values are counters so MUST NOT be NaN or negative", and with a bucket below 0 there "MUST NOT" be one. A
 * histogram has a count "if and only if a Sum value is present". So both are missing there.
 */
import type { Format } from "./negotiation.js"

/** The rules, by name. Each says what is left out, and why. */
export const rules = {
  labels: {
    in: "both",
    says: "samples whose name or labels are not valid for it are left out"
  },
  value: {
    in: "both",
    says: "samples whose value is not a number are left out"
  },
  counter: {
    in: "both",
    says: "samples with a value that is NaN or negative are left out, for a counter begins at 0 and increases"
  },
  count: {
    in: "both",
    says: "a count that is NaN or negative is left out"
  },
  quantile: {
    in: "both",
    says: "quantiles that are not from 0 to 1, or there twice, are left out"
  },
  bounds: {
    in: "both",
    says: "series whose buckets have no increasing upper bounds are left out"
  },
  buckets: {
    in: "both",
    says: "series whose buckets do not increase from 0 up to their count are left out"
  },
  wholeCount: {
    in: "openmetrics",
    says: "counts that are not whole numbers are left out in OpenMetrics"
  },
  sum: {
    in: "openmetrics",
    says:
      "a sum that is NaN or negative is left out in OpenMetrics, where a sum is a counter, and of a histogram the count " +
      "as well; text has both"
  },
  negativeBounds: {
    in: "openmetrics",
    says: "the sum and the count are left out in OpenMetrics, where a histogram with buckets below 0 has none; text has both"
  },
  negativeQuantile: {
    in: "openmetrics",
    says: "quantiles with a negative value are left out in OpenMetrics, which has none; text has them"
  },
  exemplarOfUnknown: {
    in: "openmetrics",
    says: "its exemplars are left out, for it is a counter in OpenMetrics only if its name ends in _total: call it "
  },
  exemplarOfClash: {
    in: "openmetrics",
    says: "its exemplars are left out, for its name clashes in OpenMetrics, and its type is unknown there"
  },
  exemplarElsewhere: {
    in: "openmetrics",
    says: "exemplars are left out where OpenMetrics has none: all but those of counters and of buckets"
  },
  exemplarOutside: {
    in: "openmetrics",
    says: "exemplars whose value is not within their bucket are left out"
  },
  exemplar: {
    in: "openmetrics",
    says: "exemplars with labels that are not valid or over 128 characters long are left out"
  }
} as const satisfies Readonly<Record<string, { readonly in: "both" | Format; readonly says: string }>>

/** The name of a rule. */
export type Rule = keyof typeof rules

/** Whether the rule is one of that format. */
export const isIn = (format: Format, rule: Rule): boolean => {
  const { in: where } = rules[rule]
  return where === "both" || where === format
}

/** What came of the rules in one exposition. */
export class Forbidden {
  /** Sentences, by what they are about. */
  readonly notices = new Map<string, string>()

  /** Something of that family is left out. */
  readonly leaveOut = (family: string, rule: Rule): void => {
    const key = `${family} ${rule}`
    if (this.notices.has(key)) return
    this.notices.set(
      key,
      `metric ${family}: ${rules[rule].says}${rule === "exemplarOfUnknown" ? `${family}_total` : ""}`
    )
  }

  /** These counters are `unknown`, each because of another family. */
  clash(clashes: ReadonlyMap<string, string>): void {
    for (const [name, other] of clashes) {
      const sentence =
        `in OpenMetrics the family of the counter ${name} would clash with the metric ${other}: ` +
        "it is exposed there with type unknown"
      this.notices.set(sentence, sentence)
    }
  }
}

/** The rule that the value of a sample breaks, of a family whose samples are not put together to points. */
export const brokenBy = (value: unknown, isCounter: boolean): Rule | undefined => {
  if (typeof value !== "number" && typeof value !== "bigint") return "value"
  return isCounter && !(value >= 0) ? "counter" : undefined
}
