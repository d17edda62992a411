import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Gauge, Registry as PromRegistry } from "prom-client"
import type { Format } from "./support/arbitraryRegistries.js"
import { contentTypes, rendered } from "./support/expositions.js"

const om = "application/openmetrics-text"

/** The header as each version sends it. */
const prometheus = {
  "2.24": "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
  "2.42":
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
  "2.53":
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
  "3.5":
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
  "3.5 with native histograms":
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
  "3.5 for text": "text/plain;version=0.0.4;q=0.6,*/*;q=0.5",
  "3.5 for OpenMetrics": "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5"
}

interface Row {
  readonly why: string
  readonly accept: string | undefined
  readonly format: Format
}

const row =
  (format: Format) =>
  (why: string, accept: string | undefined): Row => ({ why, accept, format })
const text = row("text")
const openmetrics = row("openmetrics")

const rows: ReadonlyArray<Row> = [
  text("Prometheus 2.24, which knows OpenMetrics 0.0.1 alone", prometheus["2.24"]),
  openmetrics("Prometheus 2.42", prometheus["2.42"]),
  openmetrics("Prometheus 2.53", prometheus["2.53"]),
  openmetrics("Prometheus 3.5", prometheus["3.5"]),
  openmetrics("Prometheus 3.5 with native histograms", prometheus["3.5 with native histograms"]),
  text("Prometheus 3.5 that is configured to ask for text", prometheus["3.5 for text"]),
  openmetrics("Prometheus 3.5 that is configured to ask for OpenMetrics", prometheus["3.5 for OpenMetrics"]),

  text("no header", undefined),
  text("an empty header", ""),
  text("a header of commas", " , ,,"),
  text("curl", "*/*"),
  text("a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),

  text("its media type", "text/plain"),
  text("its media type and version", "text/plain;version=0.0.4"),
  text("its content type", "text/plain; version=0.0.4; charset=utf-8"),
  openmetrics("its media type", om),
  openmetrics("its media type and version", `${om};version=1.0.0`),
  openmetrics("its content type", `${om}; version=1.0.0; charset=utf-8`),

  text("a version of OpenMetrics that is not written", `${om};version=0.0.1`),
  text("a later version of OpenMetrics", `${om};version=2.0.0`),
  text("a version that is empty", `${om};version=`),
  openmetrics("one of several versions", `${om};version=0.0.1, ${om};version=1.0.0`),
  openmetrics("a version of text that is not written beside OpenMetrics", `text/plain;version=1.0.0, ${om};q=0.1`),

  openmetrics("a higher weight", `text/plain;q=0.5, ${om};q=0.6`),
  text("a higher weight", `${om};q=0.5, text/plain;q=0.6`),
  openmetrics("a weight in thousandths that is higher", `text/plain;q=0.998,${om};q=0.999`),
  text("a weight beside a missing one, which counts as 1", `${om};q=0.999,text/plain`),
  openmetrics("the first of two with the same weight", `${om}, text/plain`),
  text("the first of two with the same weight", `text/plain, ${om}`),
  openmetrics("the first of two with the same weight", `${om};q=0.300,text/plain;q=0.3`),
  text("the first of two with the same weight", `text/plain;q=0.3,${om};q=0.300`),

  text("OpenMetrics with q=0", `${om};q=0`),
  text("OpenMetrics with q=0.000", `${om};q=0.000, */*`),
  text("OpenMetrics with q=0 and anything else", `*/*, ${om};q=0`),
  text("its version with q=0 and the media type", `${om};version=1.0.0;q=0, ${om}`),
  openmetrics("text with q=0", `text/plain;q=0, ${om};q=0.001`),
  openmetrics("text with q=0 and anything else", "text/plain;q=0, */*;q=0.1"),
  text("both with q=0, which is as good as nothing", `${om};q=0, text/plain;q=0`),
  text("everything with q=0", "*/*;q=0"),

  openmetrics("application/*", "application/*"),
  text("text/*", "text/*"),
  openmetrics("the more precise range, whatever its order", `*/*, text/*;q=0.1, ${om};q=0.5`),
  text("the more precise range, whatever its order", `*/*, application/*;q=0.1, text/plain;q=0.5`),
  text("the more precise version", `${om}, ${om};version=1.0.0;q=0.1, text/plain;q=0.5`),
  text("anything, with the same weight as application/*", "*/*, application/*"),
  text("an invalid wildcard", "*/openmetrics-text"),
  text("a star", "*"),

  openmetrics("upper case", "APPLICATION/OPENMETRICS-TEXT;VERSION=1.0.0;Q=0.9,TEXT/PLAIN;Q=0.5"),
  text("a version in upper case that is not written", `${om};VERSION=0.0.1`),
  text("q=0 in upper case", `${om};Q=0`),
  openmetrics("mixed case", "Application/OpenMetrics-Text; Version=1.0.0; Charset=UTF-8"),
  openmetrics("blanks", ` ${om} ;\tversion=1.0.0 ; q=0.9 , text/plain ; q=0.5 `),

  openmetrics("a quoted version", `${om};version="1.0.0"`),
  text("a quoted version that is not written", `${om};version="0.0.1"`),
  text("a quoted parameter with a comma, and q=0", `${om};note="a,b";q=0`),
  text("a quoted parameter with a semicolon, and q=0", `${om};note="a;b";q=0`),
  text("a quoted parameter that looks like a range", `text/plain;note=", ${om}, "`),
  openmetrics("parameters that are not known", `${om};escaping=dots;foo=bar`),

  ...["high", "", "-1", "2", "1.5", "1.001", "0,5", "0.1234", ".5", "1e0", "NaN", "0x1", "1 1"].map((weight) =>
    text(`an invalid weight: ${weight}`, `${om};q=${weight}`)
  ),
  openmetrics("an invalid weight of text", `text/plain;q=high, ${om};q=0.1`),

  text("another media type", "application/json"),
  text("a media type that begins alike", "application/openmetrics-text-2"),
  text("protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"),
  text("garbage", ";;;===,,,\u0000q=\u{1f600}"),
  text("a long header", `${"a/b,".repeat(10_000)}text/plain`),
  openmetrics("a long header that ends with it", `${"a/b;q=0.5,".repeat(10_000)}${om}`)
]

describe("Accept", () => {
  for (const { accept, format, why } of rows) {
    const shown = accept === undefined || accept.length > 300 ? "" : ` (${JSON.stringify(accept)})`
    it.effect(`gets ${format} for ${why}${shown}`, () =>
      Effect.gen(function* () {
        const registry = new PromRegistry()
        new Gauge({ name: "up", help: "Up.", registers: [registry] }).set(1)
        const { contentType, body } = yield* rendered(registry, { accept })
        assert.strictEqual(contentType, contentTypes[format])
        assert.strictEqual(body, `# HELP up Up.\n# TYPE up gauge\nup 1\n${format === "text" ? "" : "# EOF\n"}`)
      })
    )
  }
})
