/** What is broken on purpose, and the alert that has to tell of it. Each has a job of its own. */
import { setTimeout as sleep } from "node:timers/promises"
import type { Fleet, Service, ServiceOptions } from "./fleet.js"

/** What an incident needs. */
export interface Lab {
  readonly fleet: Fleet
  readonly consul: { readonly address: string; readonly kill: () => Promise<void> }
  readonly certificate: { readonly key: string; readonly cert: string }
}

export interface Incident {
  readonly job: string
  readonly what: string
  readonly alert: string
  /** Other alerts that are as true. */
  readonly also?: RegExp
  /** Labels that the alert must have. */
  readonly labels?: Readonly<Record<string, string>>
  /** What the operator of the service adds to the rules. */
  readonly rules?: ReadonlyArray<object>
  /** Whether it takes minutes, because its windows are long. */
  readonly isLong?: true
  /**
   * Starts it healthy, and returns how to break it. If breaking it resolves with
   * a time, the alert must fire before.
   */
  readonly start: (lab: Lab, job: string) => Promise<() => Promise<unknown>>
}

/** Services with two routes and some traffic on each. */
const services = async (
  { fleet }: Lab,
  job: string,
  count: number,
  options?: ServiceOptions,
  rate = 10
): Promise<ReadonlyArray<Service> & { readonly 0: Service }> => {
  const started = await Promise.all(Array.from({ length: count }, (_, at) => fleet.start(job, `${job}-${at}`, options)))
  for (const service of started) {
    service.visit({ path: "/", rate })
    service.visit({ path: "/cart", rate })
  }
  return started as ReadonlyArray<Service> as ReadonlyArray<Service> & { readonly 0: Service }
}

/** One service, and what breaks it. */
const one =
  (how: object, options?: ServiceOptions): Incident["start"] =>
  async (lab, job) => {
    const [service] = await services(lab, job, 1, options)
    return () => service.break(how)
  }

/** A process that ends because of this. The alert must fire before. */
const untilItEnds =
  (how: object, options?: ServiceOptions): Incident["start"] =>
  async (lab, job) => {
    const [service] = await services(lab, job, 1, options, 1)
    return async () => {
      await service.break(how)
      return service.ended
    }
  }

/** What is true of a process that has no time, as one that the machine holds up. Which of them fire depends on when it is scraped. */
export const late = /^(EventLoop|MetricsTargets?Down$|MetricsTargetFlapping|MetricsScrape|MetricsStale)/

// The same of a process that is started again and again.
const restarted = new RegExp(`${late.source}|^(Process|MetricsTargets(Gone|Lost)$)`)

// True on the way to a larger share, and of a part as well as of the whole.
const burning = /^HttpErrorBudgetBurns/

export const incidents: ReadonlyArray<Incident> = [
  {
    job: "outage",
    what: "a service of many in one scrape job fails totally",
    alert: "HttpRequestsFailing",
    also: burning,
    start: one({ fail: { "*": 1 } })
  },
  {
    job: "otel",
    what: "the same with OpenTelemetry's names",
    alert: "HttpRequestsFailing",
    also: burning,
    start: one({ fail: { "*": 1 } }, { names: "otel" })
  },
  {
    job: "burn",
    what: "3 % of the requests fail",
    alert: "HttpErrorBudgetBurnsFast",
    also: burning,
    start: async (lab, job) => {
      const [service] = await services(lab, job, 1, {}, 40)
      return () => service.break({ fail: { "*": 0.03 } })
    }
  },
  {
    job: "route",
    what: "one route of three fails, with 5 % of the requests",
    alert: "HttpRouteFailing",
    also: burning,
    labels: { route: "/pay" },
    start: async (lab, job) => {
      const [service] = await services(lab, job, 1, {}, 20)
      service.visit({ path: "/pay", rate: 2 })
      return () => service.break({ fail: { "/pay": 1 } })
    }
  },
  {
    job: "instance",
    what: "one instance fails, with a tenth of the requests",
    alert: "HttpInstanceFailing",
    also: burning,
    labels: { instance: "instance-2" },
    start: async (lab, job) => {
      await services(lab, job, 2, {}, 10)
      const third = await lab.fleet.start(job, "instance-2")
      for (const path of ["/", "/cart"]) third.visit({ path, rate: 2 })
      return () => third.break({ fail: { "*": 1 } })
    }
  },
  {
    job: "environment",
    what: "one environment of two fails",
    alert: "HttpRequestsFailing",
    also: burning,
    labels: { environment: "test" },
    start: async (lab, job) => {
      await services(lab, job, 1, { labels: { environment: "live" } }, 20)
      const tested = await lab.fleet.start(job, "environment-test", { labels: { environment: "test" } })
      tested.visit({ rate: 2 })
      return () => tested.break({ fail: { "*": 1 } })
    }
  },
  {
    job: "cluster",
    what: "10 % of the requests fail in two clusters, of which one has an objective that allows it",
    alert: "HttpErrorBudgetBurnsFast",
    also: burning,
    labels: { cluster: "a" },
    // Also beside the settings of one cluster, the defaults count for all other incidents.
    rules: [
      { record: "objective:http_server_requests:availability", labels: { cluster: "b" }, expr: "vector(0.5)" },
      { record: "threshold:http_server_request_duration_seconds:p95", labels: { cluster: "b" }, expr: "vector(10)" },
      { record: "threshold:http_server_requests_in_progress", labels: { cluster: "b" }, expr: "vector(1000)" }
    ],
    start: async (lab, job) => {
      const [failing] = await services(lab, job, 1, { labels: { cluster: "a" } })
      // No incident has this job, so no alert may have it.
      const [allowed] = await services(lab, "allowed", 1, { labels: { cluster: "b" } })
      return () => Promise.all([failing, allowed].map((service) => service.break({ fail: { "*": 0.1 } })))
    }
  },
  {
    job: "quiet",
    what: "two requests in a minute, which fail",
    alert: "HttpRequestsFailing",
    also: burning,
    start: async ({ fleet }, job) => {
      const service = await fleet.start(job, job)
      service.visit({ rate: 0.5 })
      return () => service.break({ fail: { "*": 1 } })
    }
  },
  {
    job: "hang",
    what: "requests hang until their clients give up (499)",
    alert: "HttpRequestsPileUp",
    also: /^Http(ClientsGiveUp|NothingAnswered)/,
    start: async ({ fleet }, job) => {
      const service = await fleet.start(job, job)
      service.visit({ rate: 60, timeout: 2_000 })
      return () => service.break({ hang: true })
    }
  },
  {
    job: "slow",
    what: "a service answers after 4 seconds",
    alert: "HttpRequestsSlow",
    also: /^HttpRequestsPileUp/,
    start: one({ slow: 4_000 })
  },
  {
    job: "stuck",
    what: "the event loop is stuck",
    alert: "EventLoopStuck",
    also: late,
    start: one({ block: 6_000 })
  },
  {
    job: "busy",
    what: "the event loop is busy for 98 % of the time",
    alert: "EventLoopSaturated",
    also: late,
    start: one({ busy: true })
  },
  {
    job: "heap",
    what: "a heap of 128 MiB fills up, until V8 ends the process",
    alert: "HeapNearlyFull",
    also: late,
    start: untilItEnds({ heap: 2.5e6 }, { execArgv: ["--max-old-space-size=128"] })
  },
  {
    job: "memory",
    what: "buffers fill the memory of the control group, until the kernel ends the process",
    alert: "MemoryNearlyFull",
    also: late,
    start: untilItEnds({ outside: 4.5e6 }, { memory: 256 * 2 ** 20 })
  },
  {
    job: "token",
    what: "a target that never worked: 401",
    alert: "MetricsTargetsDown",
    also: /^MetricsUnauthorized/,
    start: async ({ fleet }, job) => {
      return () => fleet.start(job, job, { token: "a-token-of-which-prometheus-knows-nothing" })
    }
  },
  {
    job: "half",
    what: "half of a job is down",
    alert: "MetricsTargetsDown",
    start: async (lab, job) => {
      const [first, second] = await services(lab, job, 4, {}, 2)
      return () => Promise.all([first.kill(), second?.kill()])
    }
  },
  {
    job: "killed",
    what: "an instance is killed, and forgotten by the service discovery",
    alert: "MetricsTargetsLost",
    also: /^MetricsTargetsFewer/,
    start: async (lab, job) => {
      const [first] = await services(lab, job, 3, {}, 2)
      return async () => {
        await first.kill()
        await sleep(8_000)
        first.forget()
      }
    }
  },
  {
    job: "vanished",
    what: "an instance vanishes from the service discovery, and two are expected",
    alert: "MetricsTargetsMissing",
    rules: [{ record: "expected:up:count", labels: { job: "vanished" }, expr: "vector(2)" }],
    also: /^MetricsTargetsFewer/,
    start: async (lab, job) => {
      const [first] = await services(lab, job, 2, {}, 2)
      return async () => first.forget()
    }
  },
  {
    job: "gone",
    what: "all instances vanish from the service discovery",
    alert: "MetricsTargetsGone",
    start: async (lab, job) => {
      const [first] = await services(lab, job, 1, {}, 2)
      return async () => first.forget()
    }
  },
  {
    job: "collector",
    what: "a metric cannot be collected any more",
    alert: "MetricCollectFailing",
    start: one({ collect: -1 })
  },
  {
    job: "consul",
    what: "Consul is down, for three services",
    alert: "ServiceDiscoveryDown",
    start: async (lab, job) => {
      const { address, kill } = lab.consul
      await Promise.all(
        [1, 2, 3].map((at) =>
          services(lab, `${job}-${at}`, 1, { consul: { name: `${job}-${at}`, address, watchInterval: "1 second" } }, 1)
        )
      )
      return kill
    }
  },
  {
    job: "restarting",
    what: "a crash loop of one instance",
    alert: "ProcessRestarting",
    also: restarted,
    start: async ({ fleet }, job) => {
      let last = await fleet.start(job, job)
      return async () => {
        for (let time = 0; time < 6; time += 1) {
          await last.kill()
          last = await fleet.start(job, job, { port: last.port })
          await sleep(4_000)
        }
      }
    }
  },
  {
    job: "renamed",
    what: "a crash loop under new names",
    alert: "ProcessesEndEarly",
    also: restarted,
    start:
      async ({ fleet }, job) =>
      async () => {
        for (let time = 0; time < 8; time += 1) {
          const service = await fleet.start(job, `${job}-${time}`)
          // Prometheus takes a new list of targets every five seconds at most, and then has to scrape it.
          await sleep(9_000)
          service.forget()
          await service.kill()
        }
      }
  },
  {
    job: "certificate",
    what: "a certificate expires in five days",
    alert: "CertificateExpires",
    start: async ({ certificate, fleet }, job) => {
      return () => fleet.start(job, job, { tls: certificate })
    }
  },
  {
    job: "timeout",
    what: "scrapes take nearly as long as they may",
    alert: "MetricsScrapeNearTimeout",
    also: late,
    isLong: true,
    // The server stops waiting for a metric before the timeout of the scrape, by a time that does not pass faster.
    start: one({ collect: 650 }, { labels: { __scrape_interval__: "2s", __scrape_timeout__: "2s" } })
  },
  {
    job: "series",
    what: "the series of a service grow without an end",
    alert: "MetricSeriesGrowing",
    isLong: true,
    start: async (lab, job) => {
      const [service] = await services(lab, job, 1, {}, 1)
      await service.break({ series: 100 })
      return async () => {}
    }
  },
  {
    job: "traffic",
    what: "the traffic stops while the instances run",
    alert: "HttpTrafficGone",
    isLong: true,
    start: async ({ fleet }, job) => {
      const service = await fleet.start(job, job)
      const stop = service.visit({ rate: 20 })
      return async () => {
        await sleep(270_000)
        stop()
      }
    }
  }
]

/** The alerts that no incident here raises, and why. Their tests are those of promtool. */
export const notLive: Readonly<Record<string, string>> = {
  HttpClientsGiveUp: "it fires beside HttpRequestsPileUp",
  HttpNothingAnswered: "it fires beside HttpRequestsPileUp",
  HttpErrorBudgetBurns: "its windows are days",
  ProcessRestartingSlowly: "its window is six hours",
  EventLoopLagging: "it fires beside EventLoopStuck, if the process has few turns",
  FileDescriptorsRunOut: "the limit of the machine may be too high",
  MetricsTargetDown: "it is MetricsTargetsDown for a part of the targets",
  MetricsTargetFlapping: "a process that restarts again and again raises ProcessRestarting before",
  MetricsJobsGone: "it is MetricsTargetsGone for half of all jobs",
  MetricsTargetsFewer: "it fires beside MetricsTargetsLost",
  MetricsNotRegistered: "it is ServiceDiscoveryDown for one server",
  MetricOperationsFailing: "test/Metrics.conservation.test.ts counts them",
  MetricsScrapesFailing: "test/Exposition.selfMetrics.test.ts counts them",
  MetricsStale: "test/MetricsServer.worker.test.ts has blocked applications",
  MetricSeriesOverflow: "test/Registry.seriesLimit.test.ts counts them",
  MetricsUnauthorized: "it fires beside MetricsTargetsDown, when the credentials are wrong"
}
