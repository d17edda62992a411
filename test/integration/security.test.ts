import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as ConsulAgent from "../../src/ConsulAgent.js"
import type * as MetricsServer from "../../src/MetricsServer.js"
import { ServiceDiscoveryError } from "../../src/ServiceDiscovery.js"
import { describeWith } from "../support/binaries.js"
import { authority, temporaryFiles } from "../support/certificates.js"
import { hashOf } from "../support/credentials.js"
import { get } from "../support/httpClient.js"
import { inPatientWorker, inThisThread, someMetrics, started } from "../support/servers.js"
import { consul, prometheus, until } from "../support/services.js"

const password = "correct horse battery staple"
const token = "0123456789abcdef"

describeWith(["prometheus", "prometheus3"], "Prometheus", () => {
  for (const which of ["prometheus", "prometheus3"] as const) {
    it.scopedLive(
      `of ${which === "prometheus" ? "version 2" : "version 3"} scrapes with its certificate and a password or a token, and not without`,
      () =>
        Effect.gen(function* () {
          const trusted = yield* authority()
          const client = yield* trusted.issue({ names: [{ type: 2, value: "prometheus" }] })
          const other = yield* trusted.issue({ names: [{ type: 2, value: "other" }] })
          const paths = yield* temporaryFiles({
            ca: trusted.cert,
            cert: client.cert,
            key: client.key,
            ...renamed(other)
          })
          const server = yield* started(
            inPatientWorker,
            {
              tls: { ...(yield* trusted.issue()), ca: trusted.cert, allowedNames: ["prometheus"] },
              authentication: { users: { scraper: hashOf(password) }, tokens: [token] }
            },
            { registry: someMetrics() }
          )
          const tls = { ca_file: paths.ca, cert_file: paths.cert, key_file: paths.key }
          const job = (name: string, how: object) => ({
            job_name: name,
            scheme: "https",
            tls_config: tls,
            static_configs: [{ targets: [`127.0.0.1:${server.address.port}`] }],
            ...how
          })
          const right = { username: "scraper", password }
          const { query } = yield* prometheus(which, [
            job("password", { basic_auth: right }),
            // Version 2.24 does not know the newer way to say it.
            job("token", which === "prometheus" ? { bearer_token: token } : { authorization: { credentials: token } }),
            job("wrong-password", { basic_auth: { ...right, password: "guess" } }),
            job("nothing", {}),
            job("no-certificate", { basic_auth: right, tls_config: { ca_file: paths.ca } }),
            job("other-name", {
              basic_auth: right,
              tls_config: { ca_file: paths.ca, cert_file: paths.otherCert, key_file: paths.otherKey }
            })
          ])
          for (const [name, expected] of [
            ["password", 1],
            ["token", 1],
            ["wrong-password", 0],
            ["nothing", 0],
            ["no-certificate", 0],
            ["other-name", 0]
          ] as const) {
            yield* until(`${name} is ${expected}`, query(`up{job="${name}"}`), (up) => up === expected)
          }
          assert.strictEqual(yield* query('jobs_total{job="password"}'), 3)
        }),
      600_000
    )
  }
})

const renamed = ({ cert, key }: { readonly cert: string; readonly key: string }) => ({ otherCert: cert, otherKey: key })

describeWith(["consul"], "The agent's check of a server with authentication", () => {
  const withConsul = (check: ConsulAgent.Check | undefined, options: MetricsServer.Options) =>
    Effect.gen(function* () {
      const agent = yield* consul()
      const discovery = yield* ConsulAgent.make({ address: agent.address, name: "closed", check })
      const server = yield* started(inThisThread, options, { registry: someMetrics(), discovery })
      const status = Effect.map(
        agent.get<ReadonlyArray<{ readonly Status: string }>>("/v1/health/checks/closed"),
        ([first]) => first?.Status
      )
      return { server, isPassing: until("the check is passing", status, (now) => now === "passing") }
    })
  const authentication = { tokens: [token] }

  it.scopedLive("passes with a header", () =>
    Effect.gen(function* () {
      const header = { Authorization: Redacted.make(`Bearer ${token}`) }
      const { isPassing } = yield* withConsul({ interval: "1 second", header }, { authentication })
      yield* isPassing
    })
  )

  it.scopedLive("passes where the page for health checks is open", () =>
    Effect.gen(function* () {
      const open = { ...authentication, openHealthPage: true }
      const { isPassing, server } = yield* withConsul({ interval: "1 second" }, { authentication: open })
      assert.isTrue(server.isHealthOpen)
      assert.strictEqual((yield* get(server.url)).status, 401)
      yield* isPassing
    })
  )

  it.scopedLive("passes as a TTL check where clients need a certificate", () =>
    Effect.gen(function* () {
      const trusted = yield* authority()
      const tls = { ...(yield* trusted.issue()), ca: trusted.cert }
      const { isPassing, server } = yield* withConsul({ ttl: "3 seconds" }, { tls })
      assert.isTrue(server.needsCertificate)
      assert.isTrue(server.isHealthOpen)
      yield* isPassing
    })
  )

  it.scopedLive("is refused before anything is registered, where it would be turned away", () =>
    Effect.gen(function* () {
      const trusted = yield* authority()
      const tls = { ...(yield* trusted.issue()), ca: trusted.cert }
      const header = { Authorization: `Bearer ${token}` }
      for (const [options, check, message] of [
        [{ authentication }, undefined, /sends no credentials: set check\.ttl or check\.header, or set openHealthPage/],
        [{ tls }, undefined, /sends no certificate: set check\.ttl; or set check\.url/],
        [{ authentication, tls }, { header }, /sends no certificate: set check\.ttl; or set check\.url/]
      ] as const) {
        const error = yield* Effect.flip(withConsul(check, options))
        assert.instanceOf(error, ServiceDiscoveryError)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.match(error.message, message)
      }
    })
  )
})
