import { assert, describe, it } from "@effect/vitest"
import { parseOpenMetrics, parseText } from "./support/expositionParser.js"

type Bad = readonly [what: string, body: string, message: RegExp]

const text: ReadonlyArray<Bad> = [
  ["no line feed at the end", "a 1", /line feed/],
  ["a lone surrogate", 'a{b="\ud83d"} 1\n', /surrogate/],
  ["a byte order mark", "\ufeffa 1\n", /byte order mark/],
  ["an invalid name", "1a 1\n", /metric name/],
  ["an invalid name in HELP", "# HELP a-b c\n", /metric name/],
  ["an invalid type", "# TYPE a unknown\n", /no type/],
  ["no type", "# TYPE a\n", /no type/],
  ["more than a type", "# TYPE a gauge b\n", /no type/],
  ["a second HELP", "# HELP a b\n# HELP a b\n", /second HELP/],
  ["a second TYPE", "# TYPE a gauge\n# TYPE a gauge\n", /second TYPE/],
  ["TYPE after a sample", "a 1\n# TYPE a gauge\n", /after its samples/],
  ["HELP after a sample", "a 1\n# HELP a b\n", /after its samples/],
  ["a family that is there twice", "a 1\nb 1\na 2\n", /there before/],
  ["families that are interleaved", "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# HELP a c\n", /there before/],
  ["two families with one sample", "# TYPE a summary\na_sum 1\n# TYPE a_sum gauge\na_sum 1\n", /both a and a_sum/],
  ["a sample of a family that is over", "# TYPE a histogram\n# TYPE b gauge\nb 1\na_sum 1\n", /both a and a_sum/],
  ["a sample with another suffix", "# TYPE a histogram\na 1\n", /there before/],
  ["a series that is there twice", 'a{b="c"} 1\na{b="c"} 2\n', /there twice/],
  ["a series that is there twice but for an empty label", 'a{b=""} 1\na 2\n', /there twice/],
  ["an invalid escape", 'a{b="\\t"} 1\n', /no escape/],
  ["an invalid escape in HELP", '# HELP a \\"\n', /no escape/],
  ["a backslash at the end of HELP", "# HELP a b\\\n", /no escape/],
  ["a quote that is not escaped", 'a{b="c"d"} 1\n', /no ","/],
  ["a value that is not quoted", "a{b=c} 1\n", /not quoted/],
  ["a value that does not end", 'a{b="c} 1\n', /not quoted/],
  ["a line feed in a value", 'a{b="c\nd"} 1\n', /not quoted/],
  ["an invalid label name", 'a{b-c="d"} 1\n', /no "="/],
  ["a label that is there twice", 'a{b="c",b="d"} 1\n', /the label b is there twice/],
  ["a comma and no label", 'a{,b="c"} 1\n', /no label name/],
  ["no closing brace", 'a{b="c" 1\n', /no ","/],
  ["no value", "a\n", /not a number/],
  ["an invalid value", "a one\n", /not a number/],
  ["a value that is out of range", "a 1e999\n", /out of the range/],
  ["a timestamp with a fraction", "a 1 1.5\n", /not a timestamp/],
  ["an exemplar", 'a 1 # {b="c"} 1\n', /more after/],
  ["a histogram without the bucket +Inf", '# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n', /\+Inf/],
  ["a histogram without buckets", "# TYPE a histogram\na_sum 1\na_count 1\n", /\+Inf/],
  ["a bucket without a bound", '# TYPE a histogram\na_bucket 1\na_bucket{le="+Inf"} 1\n', /no label le/],
  ["an invalid bound", '# TYPE a histogram\na_bucket{le="x"} 1\na_bucket{le="+Inf"} 1\n', /not a number/],
  [
    "buckets that are not in order",
    '# TYPE a histogram\na_bucket{le="2"} 1\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_count 1\n',
    /order/
  ],
  [
    "two buckets up to Infinity",
    '# TYPE a histogram\na_bucket{le="Infinity"} 1\na_bucket{le="+Inf"} 1\na_count 1\n',
    /order/
  ],
  [
    "buckets that are not cumulative",
    '# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_count 1\n',
    /cumulative/
  ],
  ["a bucket that is no count", '# TYPE a histogram\na_bucket{le="+Inf"} 0.5\na_count 0.5\n', /not all counts/],
  ["a count that is not that of the last bucket", '# TYPE a histogram\na_bucket{le="+Inf"} 2\na_count 1\n', /a_count/],
  ["quantiles that are not in order", '# TYPE a summary\na{quantile="0.9"} 1\na{quantile="0.5"} 1\n', /order/]
]

const openmetrics: ReadonlyArray<Bad> = [
  ["no EOF", "# TYPE a gauge\na 1\n", /EOF/],
  ["nothing at all", "", /EOF/],
  ["something after EOF", "# EOF\na 1\n", /EOF/],
  ["EOF twice", "# EOF\n# EOF\n", /neither metadata nor the end/],
  ["a line feed too many", "# EOF\n\n", /EOF/],
  ["carriage returns", "a 1\r\n# EOF\r\n", /EOF/],
  ["a lone surrogate", 'a{b="\udc00"} 1\n# EOF\n', /surrogate/],
  ["an empty line", "a 1\n\nb 1\n# EOF\n", /metric name/],
  ["a comment", "# a\n# EOF\n", /neither metadata/],
  ["blanks that are not one space", "# TYPE  a gauge\n# EOF\n", /neither metadata/],
  ["a tab", "a\t1\n# EOF\n", /no " "/],
  ["two spaces", "a  1\n# EOF\n", /value is missing/],
  ["a space at the end", "a 1 \n# EOF\n", /more after/],
  ["a space before the labels", 'a {b="c"} 1\n# EOF\n', /not a number/],
  ["a comma after the labels", 'a{b="c",} 1\n# EOF\n', /no label name/],
  ["a type of text", "# TYPE a untyped\n# EOF\n", /no type/],
  ["a quote that is not escaped in HELP", '# HELP a "b"\n# EOF\n', /not escaped/],
  ["an invalid escape", 'a{b="\\t"} 1\n# EOF\n', /no escape/],
  ["a second UNIT", "# UNIT a_s s\n# UNIT a_s s\n# EOF\n", /second UNIT/],
  ["a unit that is no suffix", "# UNIT a s\n# EOF\n", /unit/],
  ["a counter without _total", "# TYPE a counter\na 1\n# EOF\n", /there before/],
  ["a counter whose family has _total", "# TYPE a_total counter\na_total 1\n# EOF\n", /there before/],
  ["a counter without a total", "# TYPE a counter\na_created 1\n# EOF\n", /no total/],
  ["a counter that is no number", "# TYPE a counter\na_total NaN\n# EOF\n", /a_total is NaN/],
  ["a counter below 0", "# TYPE a counter\na_total -1\n# EOF\n", /a_total is -1/],
  ["a family that is there twice", "# TYPE a gauge\na 1\n# TYPE b gauge\n# TYPE a gauge\n# EOF\n", /there before/],
  ["families that clash", "# TYPE a counter\n# TYPE a_created gauge\n# EOF\n", /both a and a_created/],
  ["a gauge with a suffix", "# TYPE a gauge\na_total 1\n# TYPE a_total gauge\n# EOF\n", /after its samples/],
  ["a series that is there twice", "# TYPE a gauge\na 1\na 2\n# EOF\n", /there twice/],
  [
    "metrics that are interleaved",
    '# TYPE a summary\na_count{b="c"} 1\na_count{b="d"} 1\na_sum{b="c"} 1\na_sum{b="d"} 1\n# EOF\n',
    /interleaved/
  ],
  ["a reserved name", "# TYPE _a gauge\n# EOF\n", /reserved/],
  ["a reserved label name", 'a{_b="c"} 1\n# EOF\n', /reserved/],
  ["an exemplar on a gauge", "# TYPE a gauge\na 1 # {} 1\n# EOF\n", /cannot have an exemplar/],
  ["an exemplar on a sum", '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\na_sum 1 # {} 1\n# EOF\n', /exemplar/],
  ["an exemplar without braces", "# TYPE a counter\na_total 1 # 1\n# EOF\n", /no labels/],
  ["an exemplar without a value", "# TYPE a counter\na_total 1 # {}\n# EOF\n", /no " "/],
  ["an exemplar with an invalid value", "# TYPE a counter\na_total 1 # {} null\n# EOF\n", /not a number/],
  ["an exemplar with a bad label", '# TYPE a counter\na_total 1 # {b-c="d"} 1\n# EOF\n', /no "="/],
  ["an exemplar with a bad time", "# TYPE a counter\na_total 1 # {} 1 undefined\n# EOF\n", /not a number/],
  ["an exemplar that is too long", `# TYPE a counter\na_total 1 # {b="${"c".repeat(128)}"} 1\n# EOF\n`, /129/],
  [
    "an exemplar outside of its bucket",
    '# TYPE a histogram\na_bucket{le="1"} 1 # {} 2\na_bucket{le="+Inf"} 1\na_count 1\na_sum 1\n# EOF\n',
    /outside/
  ],
  ["a histogram without the bucket +Inf", '# TYPE a histogram\na_bucket{le="1"} 1\n# EOF\n', /\+Inf/],
  ["a bucket +Inf that is called otherwise", '# TYPE a histogram\na_bucket{le="Inf"} 1\n# EOF\n', /\+Inf/],
  ["a sum without a count", '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\n# EOF\n', /without the other/],
  ["a count without a sum", '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\n# EOF\n', /without the other/],
  ["a sum below 0", '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\na_sum -1\n# EOF\n', /a_sum is -1/],
  [
    "a sum beside a bucket below 0",
    '# TYPE a histogram\na_bucket{le="-1"} 0\na_bucket{le="+Inf"} 1\na_count 1\na_sum 1\n# EOF\n',
    /below 0/
  ],
  [
    "a bound on a sum",
    '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 1\na_sum{le="+Inf"} 1\n# EOF\n',
    /has the label le/
  ],
  ["a quantile above 1", '# TYPE a summary\na{quantile="1.5"} 1\n# EOF\n', /between 0 and 1/],
  ["a quantile that is negative", '# TYPE a summary\na{quantile="0.5"} -1\n# EOF\n', /negative/],
  ["a summary without a quantile", "# TYPE a summary\na 1\n# EOF\n", /no label quantile/],
  ["an invalid count", "# TYPE a summary\na_count 0.5\n# EOF\n", /not a count/]
]

describe("The readers that the exposition is tested with", () => {
  for (const [what, body, message] of text) {
    it(`refuse ${what} in text`, () => assert.throws(() => parseText(body), message))
  }

  for (const [what, body, message] of openmetrics) {
    it(`refuse ${what} in OpenMetrics`, () => assert.throws(() => parseOpenMetrics(body), message))
  }

  it("read the example of the specification of text", () => {
    const families = parseText(String.raw`# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

	# HELP  rpc_duration_seconds	 A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01",} 3102
rpc_duration_seconds { quantile = "0.05" }	3272
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
`)
    assert.deepStrictEqual(
      families.map(({ name, type, help, samples }) => [name, type, help, samples.length]),
      [
        ["http_requests_total", "counter", "The total number of HTTP requests.", 2],
        ["msdos_file_access_time_seconds", "untyped", "", 1],
        ["metric_without_timestamp_and_labels", "untyped", "", 1],
        ["something_weird", "untyped", "", 1],
        ["rpc_duration_seconds", "summary", "A summary of the RPC duration in seconds.", 4]
      ]
    )
    assert.deepStrictEqual(
      families[1]?.samples[0]?.labels,
      new Map([
        ["path", "C:\\DIR\\FILE.TXT"],
        ["error", 'Cannot find file:\n"FILE.TXT"']
      ])
    )
    assert.deepInclude(families[3]?.samples[0], { value: Number.POSITIVE_INFINITY, timestamp: -3_982_045 })
  })

  it("read the examples of the specification of OpenMetrics", () => {
    const families = parseOpenMetrics(String.raw`# TYPE acme_http_router_request_seconds summary
# UNIT acme_http_router_request_seconds seconds
# HELP acme_http_router_request_seconds Latency though all of ACME's HTTP \"request router\".
acme_http_router_request_seconds_sum{path="/api/v1",method="GET"} 9036.32
acme_http_router_request_seconds_count{path="/api/v1",method="GET"} 807283.0
acme_http_router_request_seconds_created{path="/api/v1",method="GET"} 1605281325.0
acme_http_router_request_seconds_sum{path="/api/v2",method="POST"} 479.3
acme_http_router_request_seconds_count{path="/api/v2",method="POST"} 34.0
acme_http_router_request_seconds_created{path="/api/v2",method="POST"} 1605281325.0
# TYPE go_goroutines gauge
# HELP go_goroutines Number of goroutines that currently exist.
go_goroutines 69
# TYPE process_cpu_seconds counter
# UNIT process_cpu_seconds seconds
# HELP process_cpu_seconds Total user and system CPU time spent in seconds.
process_cpu_seconds_total 4.20072246e+06
# TYPE foo histogram
foo_bucket{le="0.01"} 0
foo_bucket{le="0.1"} 8 # {} 0.054
foo_bucket{le="1"} 11 # {trace_id="KOO5S4vxi0o"} 0.67
foo_bucket{le="10"} 17 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
foo_bucket{le="+Inf"} 17
foo_count 17
foo_sum 324789.3
foo_created 1520430000.123
# TYPE bar unknown
bar{} 42.23
# EOF
`)
    assert.deepStrictEqual(
      families.map(({ name, type, samples }) => [name, type, samples.length]),
      [
        ["acme_http_router_request_seconds", "summary", 6],
        ["go_goroutines", "gauge", 1],
        ["process_cpu_seconds", "counter", 1],
        ["foo", "histogram", 8],
        ["bar", "unknown", 1]
      ]
    )
    assert.strictEqual(families[0]?.help, `Latency though all of ACME's HTTP "request router".`)
    assert.deepStrictEqual(
      families[3]?.samples.slice(0, 4).map(({ exemplar }) => exemplar),
      [
        undefined,
        { labels: new Map(), value: 0.054, timestamp: undefined },
        { labels: new Map([["trace_id", "KOO5S4vxi0o"]]), value: 0.67, timestamp: undefined },
        { labels: new Map([["trace_id", "oHg5SJYRHA0"]]), value: 9.8, timestamp: 1_520_879_607.789 }
      ]
    )
  })
})
