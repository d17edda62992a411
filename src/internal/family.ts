/** What a metric is made from: the same whichever client it is made with. */
export interface Family {
  readonly type: "counter" | "gauge" | "histogram" | "summary"
  readonly name: string
  readonly help: string
  readonly labelNames: ReadonlyArray<string>
  /** The upper bounds of a histogram, without the infinite one. Default: the client's. */
  readonly buckets?: ReadonlyArray<number> | undefined
}
