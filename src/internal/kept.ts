/** What is kept of a family from one exposition to the next. */
import type { Lines } from "./histogram.js"
import type { Walk } from "./texts.js"

/**
 * The texts of a family's series, which are the same in both formats, as the last walk along the series left them.
 *
 * It is the walks that are kept, not only the texts, so that there always is one. Where all objects of a class are gone
 * when the garbage is collected, the engine throws away what it has compiled for them, and between two scrapes it always
 * is: each scrape would run as slowly as the first.
 *
 * A histogram is written series by series or sample by sample; what is kept is for the way in which it was written last.
 */
export class Kept {
  /** Of samples: the line up to the value. */
  samples: Walk | undefined
  /** Of the series of a histogram: their own labels, as the end of a line up to the value. */
  histograms: Walk | undefined
  /** How the lines of a histogram begin. */
  lines: Lines | undefined

  /** `key` is what its texts depend on beside the series: the name of the family, and the default labels. */
  constructor(readonly key: string) {}
}
