import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { rename, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { dirname, join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Gauge, type Registry as PromRegistry } from "prom-client"
import { parse, stringify } from "yaml"
import * as ConsulAgent from "../../src/ConsulAgent.js"
import * as MetricsServer from "../../src/MetricsServer.js"
import * as Registry from "../../src/Registry.js"
import { fasterRules } from "../incidents/rules.js"
import { describeWith } from "../support/binaries.js"
import { authority, replaceFile } from "../support/certificates.js"
import {
  configuration,
  configurationFile,
  configurationFiles,
  installed,
  parsed,
  parsedAll,
  replaced,
  type TargetGroup,
  withTargetsFrom
} from "../support/configurations.js"
import { hashOf } from "../support/credentials.js"
import { listen } from "../support/listen.js"
import { monitoringFile, runProgram } from "../support/monitoring.js"
import { inThisThread, someMetrics, started } from "../support/servers.js"
import { consul, freePorts, prometheus, prometheusOf, type Scraper, until } from "../support/services.js"
import { root, run } from "../support/snippets.js"

const minutes = 60_000

const alerts = readFileSync(monitoringFile("alerts.yml"), "utf8")

/** Rules for Prometheus 2.24, which does not know `keep_firing_for`. */
const noRules = "groups: []\n"

/** The interval of the configurations, shorter. */
const faster = { "15s": "500ms" }

/** The configurations of Prometheus, with the files beside them. */
const secrets = {
  "ca.pem": "",
  "checkout-token": "",
  "payment-password": "",
  "prometheus.pem": "",
  "prometheus.key": ""
}
const forPrometheus: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "static.yml": {},
  "file-sd.yml": { "targets.yml": configuration("targets.yml"), "targets/one.json": "[]" },
  "http-sd.yml": {},
  "kubernetes-annotations.yml": {},
  "authentication-and-tls.yml": secrets,
  "limits.yml": {},
  "compose/prometheus.yml": {}
}

/** What is no configuration of Prometheus with a rule file beside it. */
const others = [
  "consul.yml",
  "targets.yml",
  "kubernetes-deployment.yml",
  "pod-monitor.yml",
  "prometheus-rule.yml",
  "compose/compose.yml",
  "compose/grafana-datasources.yml",
  "compose/grafana-dashboards.yml",
  "compose/Dockerfile",
  "compose/checkout.mjs"
]

/** A configuration in a folder with the rules and its other files. */
const install = (
  name: string,
  replacements: Readonly<Record<string, string>> = {},
  files: Readonly<Record<string, string>> = {},
  rules = alerts
) =>
  Effect.map(
    installed({ "prometheus.yml": replaced(configuration(name), replacements), "alerts.yml": rules, ...files }),
    (folder) => ({ folder, config: join(folder, "prometheus.yml") })
  )

/** The host and the port of a metrics server of the test's own. */
const target = (options: MetricsServer.WorkerOptions = {}, registry = someMetrics()) =>
  Effect.map(started(inThisThread, options, { registry }), ({ address }) => `127.0.0.1:${address.port}`)

const isUp = ({ query }: Scraper, job: string, instances = 1) =>
  until(`${job} is up`, query(`sum(up{job="${job}"})`), (up) => up === instances)

/** Waits until all targets of a job are down with such an error. */
const isDown = ({ targets }: Scraper, job: string, error: RegExp) =>
  until(
    `${job} is down`,
    Effect.map(targets, (all) => all.filter(({ labels }) => labels["job"] === job)),
    (those) => those.length > 0 && those.every(({ health, lastError }) => health === "down" && error.test(lastError))
  )

/** An endpoint for `http_sd_configs`. */
const targetsEndpoint = (groups: () => ReadonlyArray<TargetGroup>) =>
  Effect.map(
    listen(
      createServer((_, response) => {
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(groups()))
      })
    ),
    (port) => `http://127.0.0.1:${port}/targets`
  )

describe("The files of examples/monitoring/configurations", () => {
  it("are all known to these tests", () => {
    assert.sameMembers([...configurationFiles], [...Object.keys(forPrometheus), ...others])
  })
})

describeWith(["promtool"], "promtool", ({ promtool }) => {
  for (const [name, files] of Object.entries(forPrometheus)) {
    it.scopedLive(`accepts ${name}, and finds its rules`, () =>
      Effect.gen(function* () {
        const { config } = yield* install(name, {}, files)
        const { code, said } = yield* runProgram(promtool, ["check", "config", config])
        assert.strictEqual(code, 0, said)
        assert.notInclude(said, "WARNING")
        assert.include(said, "1 rule files found")
        assert.match(said, /SUCCESS: [1-9]\d+ rules found/)
      })
    )
  }

  it.scopedLive("accepts the rules of the PrometheusRule that the command in prometheus-rule.yml makes", () =>
    Effect.gen(function* () {
      const { spec } = parse(commandOutput()) as PrometheusRule
      const folder = yield* installed({ "rules.yml": stringify(spec) })
      const { code, said } = yield* runProgram(promtool, ["check", "rules", join(folder, "rules.yml")])
      assert.strictEqual(code, 0, said)
    })
  )
})

describeWith(["prometheus3"], "Prometheus", () => {
  it.scopedLive(
    "scrapes the fixed addresses of static.yml",
    () =>
      Effect.gen(function* () {
        const { config } = yield* install("static.yml", {
          ...faster,
          "10.0.0.7:9464": yield* target(),
          "10.0.0.8:9464": yield* target(),
          "10.0.0.9:9464": yield* target({ path: "/internal/metrics" })
        })
        const server = yield* prometheusOf("prometheus3", config)
        yield* isUp(server, "checkout", 2)
        yield* isUp(server, "payment")
        assert.strictEqual(yield* server.query('count(up{environment="production"})'), 3)
        const rules = yield* Effect.promise(async () => (await fetch(`${server.url}/api/v1/rules`)).json())
        assert.isNotEmpty(rules.data.groups)
      }),
    10 * minutes
  )

  it.scopedLive(
    "reads the files of file-sd.yml again when one is added while it runs",
    () =>
      Effect.gen(function* () {
        const replacements = {
          "10.0.0.7:9464": yield* target(),
          "10.0.0.8:9464": yield* target(),
          "10.0.0.9:9464": yield* target({ path: "/internal/metrics" })
        }
        const { config, folder } = yield* install("file-sd.yml", faster, {
          "targets.yml": replaced(configuration("targets.yml"), replacements),
          "targets/README": ""
        })
        const server = yield* prometheusOf("prometheus3", config)
        yield* isUp(server, "checkout", 2)
        yield* isUp(server, "payment")

        const file = join(folder, "targets", "cart.json")
        const cart = [{ targets: [yield* target()], labels: { job: "cart", environment: "production" } }]
        yield* Effect.promise(async () => {
          await writeFile(`${file}.new`, JSON.stringify(cart))
          await rename(`${file}.new`, file)
        })
        yield* isUp(server, "cart")

        const example = yield* Effect.acquireRelease(
          Effect.sync(() =>
            run(join(root, "examples", "custom-service-discovery.ts"), {
              TARGETS_FILE: join(folder, "targets", "example.json")
            })
          ),
          ({ child }) => Effect.sync(() => child.exitCode ?? child.kill("SIGKILL"))
        )
        yield* isUp(server, "checkout", 3)
        example.child.kill("SIGTERM")
        assert.strictEqual(yield* Effect.promise(() => example.exited), 0, example.output())
        yield* until("it is gone", server.query('count(up{job="checkout"})'), (count) => count === 2)
        assert.strictEqual(yield* server.query('count(up{environment="production"})'), 4)
      }),
    10 * minutes
  )

  it.scopedLive(
    "asks the endpoint of http-sd.yml again",
    () =>
      Effect.gen(function* () {
        const groups: Array<TargetGroup> = [
          { targets: [yield* target()], labels: { job: "checkout", environment: "production" } }
        ]
        const url = yield* targetsEndpoint(() => groups)
        const { config } = yield* install("http-sd.yml", {
          ...faster,
          "http://127.0.0.1:8080/targets": url,
          "60s": "1s"
        })
        const server = yield* prometheusOf("prometheus3", config)
        yield* isUp(server, "checkout")
        groups.push({
          targets: [yield* target({ path: "/internal/metrics" })],
          labels: { job: "payment", __metrics_path__: "/internal/metrics" }
        })
        yield* isUp(server, "payment")
        groups.shift()
        yield* until("it is gone", server.query('count(up{job="checkout"})'), (count) => count === undefined)
      }),
    10 * minutes
  )

  it.scopedLive(
    "sends the credentials of authentication-and-tls.yml, and is refused with others",
    () =>
      Effect.gen(function* () {
        const token = "0123456789abcdef"
        const password = "correct horse battery staple"
        const trusted = yield* authority()
        const client = yield* trusted.issue({ names: [{ type: 2, value: "prometheus" }] })
        const here = yield* trusted.issue()
        const elsewhere = yield* trusted.issue({ names: [{ type: 2, value: "payment.internal" }] })
        const addresses = {
          "10.0.0.7:9464": yield* target({ tls: here, authentication: { tokens: [token] } }),
          "10.0.0.8:9464": yield* target({
            tls: elsewhere,
            authentication: { users: { prometheus: hashOf(password) } }
          }),
          "10.0.0.9:9464": yield* target({ tls: { ...here, ca: trusted.cert, allowedNames: ["prometheus"] } })
        }
        const right = {
          "ca.pem": trusted.cert,
          // As an editor saves them.
          "checkout-token": `${token}\n`,
          "payment-password": `${password}\n`,
          "prometheus.pem": client.cert,
          "prometheus.key": client.key
        }
        const other = yield* trusted.issue({ names: [{ type: 2, value: "other" }] })
        const wrong = {
          "ca.pem": trusted.cert,
          "checkout-token": "another-long-token",
          "payment-password": "guess",
          "prometheus.pem": other.cert,
          "prometheus.key": other.key
        }
        const name = "authentication-and-tls.yml"
        const { config } = yield* install(name, { ...faster, ...addresses }, right)
        const server = yield* prometheusOf("prometheus3", config)
        for (const job of ["checkout", "payment", "billing"]) yield* isUp(server, job)

        const { config: withOthers, folder } = yield* install(name, { ...faster, ...addresses }, wrong)
        const refused = yield* prometheusOf("prometheus3", withOthers)
        yield* isDown(refused, "checkout", /401/)
        yield* isDown(refused, "payment", /401/)
        yield* isDown(refused, "billing", /403/)

        yield* replaceFile(join(folder, "prometheus.key"), client.key)
        yield* replaceFile(join(folder, "prometheus.pem"), client.cert)
        yield* isUp(refused, "billing")
      }),
    10 * minutes
  )

  describe("of a service that exceeds a limit of limits.yml", () => {
    const series = (count: number): PromRegistry => {
      const registry = someMetrics()
      const gauge = new Gauge({ name: "many", help: "Many.", labelNames: ["number"], registers: [registry] })
      for (let number = 0; number < count; number++) gauge.set({ number }, 1)
      return registry
    }
    const labels = (count: number): PromRegistry => {
      const registry = someMetrics()
      const labelNames = Array.from({ length: count }, (_, index) => `label_${index}`)
      const values = Object.fromEntries(labelNames.map((name) => [name, "1"]))
      new Gauge({ name: "wide", help: "Wide.", labelNames, registers: [registry] }).set(values, 1)
      return registry
    }

    it.scopedLive(
      "stores nothing, and raises MetricsTargetsDown",
      () =>
        Effect.gen(function* () {
          const address = yield* target({}, series(20_000))
          const { config } = yield* install(
            "limits.yml",
            {
              "10.0.0.7:9464": address,
              "15s": "1s",
              "scrape_timeout: 10s": "scrape_timeout: 1s"
            },
            {},
            fasterRules()
          )
          const server = yield* prometheusOf("prometheus3", config)
          yield* isDown(server, "checkout", /sample limit exceeded/)
          assert.isUndefined(yield* server.query("many"))
          yield* until(
            "MetricsTargetsDown fires",
            server.query('ALERTS{alertname="MetricsTargetsDown",alertstate="firing",job="checkout"}'),
            (firing) => firing === 1
          )
        }),
      10 * minutes
    )

    it.scopedLive(
      "raises MetricsTargetDown if it is one instance of several",
      () =>
        Effect.gen(function* () {
          const wide = yield* target({}, labels(30))
          const addresses = [wide, yield* target({}, labels(26)), yield* target()]
          const { config } = yield* install(
            "limits.yml",
            {
              "10.0.0.7:9464": addresses.join('", "'),
              "15s": "1s",
              "scrape_timeout: 10s": "scrape_timeout: 1s"
            },
            {},
            fasterRules()
          )
          const server = yield* prometheusOf("prometheus3", config)
          yield* isUp(server, "checkout", 2)
          const { lastError } = yield* until(
            "one is down",
            Effect.map(server.targets, (all) => all.find(({ labels }) => labels["instance"] === wide)),
            (found) => found?.health === "down"
          ).pipe(Effect.map((found) => found ?? assert.fail("no target")))
          assert.match(lastError, /label_limit exceeded/)
          yield* until(
            "MetricsTargetDown fires",
            server.query(`ALERTS{alertname="MetricsTargetDown",alertstate="firing",instance="${wide}"}`),
            (firing) => firing === 1
          )
        }),
      10 * minutes
    )

    it.scopedLive(
      "scrapes none of too many targets",
      () =>
        Effect.gen(function* () {
          const address = yield* target()
          const ports = Array.from({ length: 100 }, (_, index) => `127.0.0.2:${10_000 + index}`)
          const { config } = yield* install("limits.yml", {
            "10.0.0.7:9464": [address, ...ports].join('", "'),
            "15s": "1s",
            "scrape_timeout: 10s": "scrape_timeout: 1s"
          })
          const server = yield* prometheusOf("prometheus3", config)
          yield* isDown(server, "checkout", /target_limit exceeded/)
        }),
      10 * minutes
    )
  })

  it.scopedLive(
    "scrapes the application of compose.yml",
    () =>
      Effect.gen(function* () {
        const [port = 0, metrics = 0] = yield* freePorts(2)
        const program = yield* Effect.acquireRelease(
          Effect.sync(() =>
            run(configurationFile("compose/checkout.mjs"), { PORT: String(port), METRICS_PORT: String(metrics) })
          ),
          ({ child }) => Effect.sync(() => child.exitCode ?? child.kill("SIGKILL"))
        )
        const { config } = yield* install("compose/prometheus.yml", {
          ...faster,
          "checkout:9464": `127.0.0.1:${metrics}`
        })
        const server = yield* prometheusOf("prometheus3", config)
        yield* isUp(server, "checkout")
        yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`))
        yield* until(
          "its request is counted",
          server.query('http_server_requests_total{job="checkout",environment="local",route="/",status="200"}'),
          (count) => count === 1
        )
        program.child.kill("SIGTERM")
        assert.strictEqual(yield* Effect.promise(() => program.exited), 0, program.output())
      }),
    10 * minutes
  )
})

/** The targets that the relabelling of a configuration makes of discovered ones. */
const relabelled = (name: string, discovery: string, groups: ReadonlyArray<TargetGroup>) =>
  Effect.gen(function* () {
    const url = yield* targetsEndpoint(() => groups)
    const server = yield* prometheus("prometheus3", [withTargetsFrom(name, discovery, url)])
    // It gets all targets of an answer at once.
    const targets = yield* until("it has the targets", server.targets, (all) => all.length > 0)
    return targets
      .map(({ labels, scrapeUrl }) => ({ scrapeUrl, labels }))
      .sort((a, b) => a.scrapeUrl.localeCompare(b.scrapeUrl))
  })

const sanitized = (name: string): string => name.replace(/\W/g, "_")

const metaLabels = (prefix: string, values: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [`__meta_${prefix}_${sanitized(name)}`, value]))

/** A pod, and the targets that Prometheus makes of it. */
interface Pod {
  readonly name: string
  readonly ip: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ports?: Readonly<Record<string, number>>
  readonly controller?: readonly [kind: string, name: string]
  readonly phase?: string
}

/** As Prometheus lists a pod: one target for each port of a container, or one without a port. */
const discovered = (pod: Pod): ReadonlyArray<TargetGroup> => {
  const { annotations = {}, controller: [kind, controller] = ["", ""], labels = {}, name, ip, ports = {} } = pod
  const common = {
    ...metaLabels("kubernetes", {
      namespace: "shop",
      pod_name: name,
      pod_ip: ip,
      pod_phase: pod.phase ?? "Running",
      pod_controller_kind: kind,
      pod_controller_name: controller,
      pod_container_name: "main"
    }),
    ...metaLabels("kubernetes_pod_label", labels),
    ...metaLabels("kubernetes_pod_annotation", annotations)
  }
  if (Object.keys(ports).length === 0) return [{ targets: [ip], labels: common }]
  return Object.entries(ports).map(([port_name, port]) => ({
    targets: [`${ip.includes(":") ? `[${ip}]` : ip}:${port}`],
    labels: {
      ...common,
      ...metaLabels("kubernetes_pod_container_port", { name: port_name, number: String(port), protocol: "TCP" })
    }
  }))
}

interface Deployment {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace: string }
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> }
    readonly template: {
      readonly metadata: {
        readonly labels: Readonly<Record<string, string>>
        readonly annotations: Readonly<Record<string, string>>
      }
      readonly spec: {
        readonly containers: ReadonlyArray<{
          readonly ports: ReadonlyArray<{ readonly name: string; readonly containerPort: number }>
        }>
      }
    }
  }
}

const deployment = parsed<Deployment>("kubernetes-deployment.yml")
const template = deployment.spec.template
const containerPorts = template.spec.containers[0]?.ports ?? []

describeWith(["prometheus3"], "The relabelling of kubernetes-annotations.yml", () => {
  const scrape = { "prometheus.io/scrape": "true" }
  const both = { http: 3000, metrics: 9464 }
  const table: ReadonlyArray<readonly [title: string, pod: Pod, url?: string, labels?: object]> = [
    [
      "a pod of kubernetes-deployment.yml",
      {
        name: "checkout-6d4cf56db6-abcde",
        ip: "127.1.0.1",
        labels: template.metadata.labels,
        annotations: template.metadata.annotations,
        ports: Object.fromEntries(containerPorts.map(({ containerPort, name }) => [name, containerPort])),
        controller: ["ReplicaSet", "checkout-6d4cf56db6"]
      },
      "http://127.1.0.1:9464/metrics",
      { job: "checkout", environment: "production" }
    ],
    ["without annotations", { name: "plain", ip: "127.1.0.2", ports: both }],
    [
      "that does not want it",
      { name: "off", ip: "127.1.0.3", ports: both, annotations: { "prometheus.io/scrape": "false" } }
    ],
    [
      "without a port in its annotations: the port named metrics",
      { name: "named-0", ip: "127.1.0.4", ports: both, annotations: scrape, controller: ["StatefulSet", "named"] },
      "http://127.1.0.4:9464/metrics",
      { job: "named" }
    ],
    [
      "without a port in its annotations, and with no port of that name",
      { name: "none", ip: "127.1.0.5", ports: { http: 3000 }, annotations: scrape }
    ],
    [
      "with a port that its container does not list, a path and HTTPS",
      {
        name: "api-7c9f8b-x",
        ip: "127.1.0.6",
        ports: { http: 3000 },
        labels: { app: "api" },
        annotations: {
          ...scrape,
          "prometheus.io/port": "9000",
          "prometheus.io/path": "/internal/metrics",
          "prometheus.io/scheme": "https"
        },
        controller: ["ReplicaSet", "other-name-7c9f8b"]
      },
      "https://127.1.0.6:9000/internal/metrics",
      { job: "api" }
    ],
    [
      "whose container lists no port",
      {
        name: "silent",
        ip: "127.1.0.7",
        labels: { app: "old-name", "app.kubernetes.io/name": "silent" },
        annotations: { ...scrape, "prometheus.io/port": "9464" }
      },
      "http://127.1.0.7:9464/metrics",
      { job: "silent" }
    ],
    [
      "with an IPv6 address",
      {
        name: "six",
        ip: "::1",
        ports: both,
        labels: { app: "six" },
        annotations: { ...scrape, "prometheus.io/port": "9465" }
      },
      "http://[::1]:9465/metrics",
      { job: "six" }
    ],
    [
      "with an IPv6 address and no port in its annotations",
      { name: "six", ip: "::1", ports: both, labels: { app: "six" }, annotations: scrape },
      "http://[::1]:9464/metrics",
      { job: "six" }
    ],
    [
      "with an IPv6 address and no listed port",
      { name: "six", ip: "::1", labels: { app: "six" }, annotations: { ...scrape, "prometheus.io/port": "9466" } },
      "http://[::1]:9466/metrics",
      { job: "six" }
    ],
    [
      "without a label, of a Deployment",
      {
        name: "order-mailer-5f7d8c9b6-qwert",
        ip: "127.1.0.8",
        annotations: { ...scrape, "prometheus.io/port": "9464" },
        controller: ["ReplicaSet", "order-mailer-5f7d8c9b6"]
      },
      "http://127.1.0.8:9464/metrics",
      { job: "order-mailer" }
    ],
    [
      "without a label and a controller",
      { name: "bare", ip: "127.1.0.9", annotations: { ...scrape, "prometheus.io/port": "9464" } },
      "http://127.1.0.9:9464/metrics",
      { job: "kubernetes-pods" }
    ],
    ["that has ended", { name: "done", ip: "127.1.0.10", ports: both, annotations: scrape, phase: "Succeeded" }],
    [
      "whose port is no number",
      { name: "word", ip: "127.1.0.11", ports: both, annotations: { ...scrape, "prometheus.io/port": "http" } }
    ]
  ]

  it.scopedLive(
    "makes of pods the targets that their annotations ask for",
    () =>
      Effect.gen(function* () {
        const groups = table.flatMap(([, pod]) => discovered(pod))
        const targets = yield* relabelled("kubernetes-annotations.yml", "kubernetes_sd_configs", groups)
        const expected = table.flatMap(([, pod, scrapeUrl, labels]) =>
          scrapeUrl === undefined
            ? []
            : [
                {
                  scrapeUrl,
                  labels: {
                    instance: new URL(scrapeUrl).host,
                    cluster: "production-1",
                    namespace: "shop",
                    pod: pod.name,
                    ...labels
                  }
                }
              ]
        )
        assert.deepEqual(
          targets,
          expected.sort((a, b) => a.scrapeUrl.localeCompare(b.scrapeUrl))
        )
      }),
    10 * minutes
  )
})

describeWith(["prometheus3"], "The relabelling of consul.yml", () => {
  const service = (address: string, labels: Readonly<Record<string, string>>): TargetGroup => ({
    targets: [address],
    labels: metaLabels("consul", { dc: "dc1", ...labels })
  })
  const groups = [
    service("127.1.0.1:9464", {
      service: "checkout",
      service_metadata_metrics_path: "/metrics",
      service_metadata_metrics_scheme: "http",
      service_metadata_environment: "production"
    }),
    service("[::1]:9464", {
      service: "payment",
      namespace: "shop",
      service_metadata_metrics_path: "/internal/metrics",
      service_metadata_metrics_scheme: "https"
    }),
    service("127.1.0.3:8300", { service: "consul" })
  ]

  it.scopedLive(
    "makes a job of each service that the library has registered, and leaves out the others",
    () =>
      Effect.gen(function* () {
        const cluster = "dc1"
        assert.deepEqual(yield* relabelled("consul.yml", "consul_sd_configs", groups), [
          {
            scrapeUrl: "http://127.1.0.1:9464/metrics",
            labels: { job: "checkout", instance: "127.1.0.1:9464", cluster, environment: "production" }
          },
          {
            scrapeUrl: "https://[::1]:9464/internal/metrics",
            labels: { job: "payment", instance: "[::1]:9464", cluster, namespace: "shop" }
          }
        ])
      }),
    10 * minutes
  )
})

describeWith(["consul", "prometheus"], "Prometheus with consul_sd_configs", ({ prometheus: program }) => {
  it.scopedLive("accepts consul.yml", () =>
    Effect.gen(function* () {
      const { config } = yield* install("consul.yml", {}, {}, noRules)
      const promtool = join(dirname(program), "promtool")
      const { code, said } = yield* runProgram(promtool, ["check", "config", config])
      assert.strictEqual(code, 0, said)
      assert.include(said, "1 rule files found")
    })
  )

  it.scopedLive(
    "finds each service that the library registers as a job of its own, by consul.yml",
    () =>
      Effect.gen(function* () {
        const agent = yield* consul()
        const serve = (name: string, options: MetricsServer.Options, meta: Readonly<Record<string, string>>) =>
          MetricsServer.layer({ host: "127.0.0.1", ...options }).pipe(
            Layer.provide(ConsulAgent.layer({ address: agent.address, name, serviceId: `${name}-1`, meta })),
            Layer.provide(Registry.layer(someMetrics())),
            Layer.build
          )
        yield* serve("checkout", {}, { environment: "production" })
        yield* serve("payment", { path: "/internal/metrics" }, {})
        // A service of something else.
        yield* Effect.promise(() =>
          fetch(`${agent.address}/v1/agent/service/register`, {
            method: "PUT",
            body: JSON.stringify({ Name: "other", Port: 1 })
          })
        )
        const host = agent.address.replace("http://", "")
        const { config } = yield* install("consul.yml", { ...faster, "127.0.0.1:8500": host }, {}, noRules)
        const server = yield* prometheusOf("prometheus", config)
        yield* isUp(server, "checkout")
        yield* isUp(server, "payment")
        assert.strictEqual(yield* server.query('up{job="checkout",cluster="dc1",environment="production"}'), 1)
        assert.strictEqual(yield* server.query("count(up)"), 2)
      }),
    10 * minutes
  )
})

describe("kubernetes-deployment.yml", () => {
  it("has the labels, the annotations and the port that Prometheus looks for", () => {
    assert.deepInclude(deployment, { apiVersion: "apps/v1", kind: "Deployment" })
    assert.deepInclude(template.metadata.labels, deployment.spec.selector.matchLabels)
    for (const text of Object.values({ ...template.metadata.annotations, ...template.metadata.labels })) {
      assert.isString(text)
    }
    const metrics = containerPorts.find(({ name }) => name === "metrics")
    assert.strictEqual(template.metadata.annotations["prometheus.io/port"], String(metrics?.containerPort))
  })
})

/** The keys that this library's files use of a resource, with the type of each value. */
type Schema = "string" | "integer" | readonly [Schema] | { readonly [key: string]: Schema }

/** What does not match. */
const mismatches = (value: unknown, schema: Schema, path = ""): ReadonlyArray<string> => {
  if (schema === "string") return typeof value === "string" ? [] : [`${path}: no string`]
  if (schema === "integer") return Number.isInteger(value) ? [] : [`${path}: no integer`]
  if (Array.isArray(schema)) {
    if (!Array.isArray(value)) return [`${path}: no list`]
    return value.flatMap((item, index) => mismatches(item, schema[0], `${path}[${index}]`))
  }
  if (typeof value !== "object" || value === null) return [`${path}: no object`]
  const keys = schema as Readonly<Record<string, Schema>>
  return Object.entries(value).flatMap(([key, below]) => {
    const known = keys[key] ?? keys["*"]
    return known === undefined ? [`${path}.${key}: unknown`] : mismatches(below, known, `${path}.${key}`)
  })
}

const texts: Schema = { "*": "string" }
const metadata: Schema = { name: "string", namespace: "string", labels: texts }
const selection: Schema = { name: "string", key: "string" }

// The types of the custom resource definitions of version 0.93 of the Prometheus Operator.
const podMonitorSchema: Schema = {
  apiVersion: "string",
  kind: "string",
  metadata,
  spec: {
    jobLabel: "string",
    podTargetLabels: ["string"],
    selector: { matchLabels: texts, matchExpressions: [{ key: "string", operator: "string", values: ["string"] }] },
    podMetricsEndpoints: [
      {
        port: "string",
        scheme: "string",
        tlsConfig: { ca: { secret: selection }, serverName: "string" },
        authorization: { credentials: selection },
        relabelings: [{ targetLabel: "string", replacement: "string" }]
      }
    ],
    sampleLimit: "integer"
  }
}

const prometheusRuleSchema: Schema = {
  apiVersion: "string",
  kind: "string",
  metadata,
  spec: {
    groups: [
      {
        name: "string",
        interval: "string",
        rules: [
          {
            record: "string",
            alert: "string",
            expr: "string",
            for: "string",
            keep_firing_for: "string",
            labels: texts,
            annotations: texts
          }
        ]
      }
    ]
  }
}

interface PodMonitor {
  readonly apiVersion: string
  readonly kind: string
  readonly spec: {
    readonly jobLabel: string
    readonly selector: {
      readonly matchExpressions?: ReadonlyArray<{ readonly key: string; readonly values: ReadonlyArray<string> }>
    }
    readonly podTargetLabels: ReadonlyArray<string>
    readonly podMetricsEndpoints: ReadonlyArray<{ readonly port: string }>
  }
}

interface PrometheusRule {
  readonly apiVersion: string
  readonly kind: string
  readonly spec: { readonly groups: ReadonlyArray<{ readonly name: string; readonly rules: ReadonlyArray<object> }> }
}

/** What the command in prometheus-rule.yml hands to kubectl. */
const commandOutput = (): string => {
  const [, command] = /^# {3}(\{ .* \}) \| kubectl apply -f -$/m.exec(configuration("prometheus-rule.yml")) ?? []
  assert.isDefined(command)
  return execFileSync("sh", ["-c", command], { cwd: configurationFile("."), encoding: "utf8" })
}

describe("pod-monitor.yml", () => {
  const monitors = parsedAll<PodMonitor>("pod-monitor.yml")

  it("has the keys and types of a PodMonitor", () => {
    assert.lengthOf(monitors, 2)
    for (const monitor of monitors) {
      assert.deepInclude(monitor, { apiVersion: "monitoring.coreos.com/v1", kind: "PodMonitor" })
      assert.deepEqual(mismatches(monitor, podMonitorSchema), [])
    }
  })

  it("selects the pods of kubernetes-deployment.yml, and takes their job and labels from them", () => {
    const [spec] = monitors.map((monitor) => monitor.spec)
    const { labels } = template.metadata
    const [expression] = spec?.selector.matchExpressions ?? []
    assert.include(expression?.values ?? [], labels[expression?.key ?? ""])
    assert.strictEqual(labels[spec?.jobLabel ?? ""], "checkout")
    for (const label of spec?.podTargetLabels ?? []) assert.property(labels, label)
    for (const { port } of spec?.podMetricsEndpoints ?? []) {
      assert.include(
        containerPorts.map(({ name }) => name),
        port
      )
    }
  })
})

describe("prometheus-rule.yml", () => {
  it("has the keys and types of a PrometheusRule, also with the rules that its command adds", () => {
    for (const rule of [parsed<PrometheusRule>("prometheus-rule.yml"), parse(commandOutput()) as PrometheusRule]) {
      assert.deepInclude(rule, { apiVersion: "monitoring.coreos.com/v1", kind: "PrometheusRule" })
      assert.deepEqual(mismatches(rule, prometheusRuleSchema), [])
    }
  })

  it("gets the groups of alerts.yml after its own, under different names", () => {
    const own = parsed<PrometheusRule>("prometheus-rule.yml").spec.groups
    const { spec } = parse(commandOutput()) as PrometheusRule
    assert.deepEqual(spec.groups, [...own, ...(parse(alerts) as PrometheusRule["spec"]).groups])
    assert.lengthOf(new Set(spec.groups.map(({ name }) => name)), spec.groups.length)
  })
})

interface Compose {
  readonly name: string
  readonly services: Readonly<
    Record<
      string,
      {
        readonly image?: string
        readonly build?: string
        readonly command?: ReadonlyArray<string>
        readonly ports: ReadonlyArray<string>
        readonly volumes?: ReadonlyArray<string>
        readonly depends_on?: ReadonlyArray<string>
      }
    >
  >
  readonly volumes: Readonly<Record<string, object>>
}

// What compose.yml uses of the Compose specification.
const composeSchema: Schema = {
  name: "string",
  services: {
    "*": {
      build: "string",
      image: "string",
      command: ["string"],
      environment: texts,
      ports: ["string"],
      expose: ["string"],
      volumes: ["string"],
      depends_on: ["string"],
      stop_grace_period: "string",
      restart: "string"
    }
  },
  volumes: { "*": {} }
}

describe("compose.yml", () => {
  const compose = parsed<Compose>("compose/compose.yml")
  const services = Object.entries(compose.services)
  const mounts = services.flatMap(([service, { volumes = [] }]) =>
    volumes.map((volume) => {
      const [source = "", path = "", mode] = volume.split(":")
      return { service, source, path, mode }
    })
  )

  it("has the keys and types of a Compose file", () => {
    assert.deepEqual(mismatches(compose, composeSchema), [])
    for (const [name, { build, depends_on = [], image }] of services) {
      assert.isTrue((build === undefined) !== (image === undefined), name)
      for (const other of depends_on) assert.property(compose.services, other)
    }
  })

  it("opens ports on this machine only, and names versions", () => {
    for (const [, { image, ports }] of services) {
      for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/)
      if (image !== undefined) assert.match(image, /:v?\d+\.\d+\.\d+$/)
    }
    const published = services.flatMap(([, { ports }]) => ports.map((port) => port.split(":")[1]))
    assert.lengthOf(new Set(published), published.length)
  })

  it("mounts files that exist, for reading only, and volumes that it declares", () => {
    for (const { mode, source } of mounts) {
      if (source.startsWith(".")) {
        assert.isTrue(existsSync(configurationFile(join("compose", source))), source)
        assert.strictEqual(mode, "ro")
      } else assert.property(compose.volumes, source)
    }
  })

  it("builds an image of files that exist", () => {
    const copied = [...configuration("compose/Dockerfile").matchAll(/^COPY (\S+) \.$/gm)].map(([, file = ""]) => file)
    assert.deepEqual(copied, ["checkout.mjs"])
    for (const file of copied) assert.isTrue(existsSync(configurationFile(join("compose", file))))
  })

  it("gives Prometheus its configuration, and the rules that this names", () => {
    const paths = mounts.filter(({ service }) => service === "prometheus").map(({ path }) => path)
    const flag = (name: string) =>
      compose.services["prometheus"]?.command?.find((text) => text.startsWith(`--${name}=`))?.split("=")[1]
    assert.include(paths, flag("config.file"))
    assert.include(paths, flag("storage.tsdb.path"))
    const { rule_files, scrape_configs } = parsed<{
      readonly rule_files: ReadonlyArray<string>
      readonly scrape_configs: ReadonlyArray<{
        readonly static_configs: ReadonlyArray<{ readonly targets: ReadonlyArray<string> }>
      }>
    }>("compose/prometheus.yml")
    for (const file of rule_files) assert.include(paths, join(dirname(flag("config.file") ?? ""), file))
    const targets = scrape_configs.flatMap((config) => config.static_configs.flatMap((some) => some.targets))
    for (const address of targets) assert.property(compose.services, address.split(":")[0] ?? "")
  })

  it("gives Grafana the data source and the dashboards", () => {
    const { datasources } = parsed<{
      readonly datasources: ReadonlyArray<{ readonly type: string; readonly url: string }>
    }>("compose/grafana-datasources.yml")
    const [source] = datasources
    assert.strictEqual(source?.type, "prometheus")
    assert.property(compose.services, new URL(source?.url ?? "").hostname)

    const { providers } = parsed<{
      readonly providers: ReadonlyArray<{ readonly type: string; readonly options: { readonly path: string } }>
    }>("compose/grafana-dashboards.yml")
    const [provider] = providers
    assert.strictEqual(provider?.type, "file")
    const dashboards = mounts.filter(({ path }) => dirname(path) === provider?.options.path)
    assert.lengthOf(dashboards, 2)
    const uids = dashboards.map(({ service, source }) => {
      assert.strictEqual(service, "grafana")
      const { panels, uid } = JSON.parse(readFileSync(configurationFile(join("compose", source)), "utf8"))
      assert.isArray(panels, source)
      return uid
    })
    assert.lengthOf(new Set(uids), dashboards.length)
  })
})
