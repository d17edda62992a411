/** The real services, the other runtimes and the browser that the integration tests run against, where this machine has them. */
import { accessSync, constants, statSync } from "node:fs"
import { delimiter, join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"

/** A program that an integration test needs. */
export type Binary =
  | "bun"
  | "chromium"
  | "consul"
  | "deno"
  | "node24"
  | "prometheus"
  | "prometheus2"
  | "prometheus3"
  | "promtool"
  | "victoriaMetrics"

interface Place {
  readonly variable: string
  /** What it is called on PATH. Several versions of Prometheus cannot all be `prometheus`. */
  readonly command: string | undefined
}

const places: { readonly [B in Binary]: Place } = {
  bun: { variable: "BUN_BIN", command: "bun" },
  chromium: { variable: "CHROMIUM_BIN", command: "chromium" },
  consul: { variable: "CONSUL_BIN", command: "consul" },
  deno: { variable: "DENO_BIN", command: "deno" },
  node24: { variable: "NODE24_BIN", command: undefined },
  prometheus: { variable: "PROMETHEUS_BIN", command: "prometheus" },
  prometheus2: { variable: "PROMETHEUS2_BIN", command: undefined },
  prometheus3: { variable: "PROMETHEUS3_BIN", command: undefined },
  promtool: { variable: "PROMTOOL_BIN", command: "promtool" },
  victoriaMetrics: { variable: "VICTORIA_METRICS_BIN", command: "victoria-metrics" }
}

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

const onPath = (command: string): string | undefined =>
  (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, command))
    .find(isExecutable)

/** The path of a program: from its variable, else from PATH. Undefined if the variable names no program. */
export const binary = (name: Binary): string | undefined => {
  const { variable, command } = places[name]
  const named = process.env[variable]
  if (named !== undefined && named !== "") return isExecutable(named) ? resolve(named) : undefined
  return command === undefined ? undefined : onPath(command)
}

const missing = (name: Binary): string => {
  const { variable, command } = places[name]
  const named = process.env[variable]
  if (named !== undefined && named !== "") return `${variable} names no program (${named})`
  return command === undefined ? `${variable} is not set` : `no ${command} in ${variable} or on PATH`
}

/**
 * A suite that needs those programs. Where one is not found, a single test replaces the suite and says why: it is
 * skipped, or fails if REQUIRE_SERVICES=1.
 */
export const describeWith = <Name extends Binary>(
  names: ReadonlyArray<Name>,
  title: string,
  suite: (found: { readonly [N in Name]: string }) => void
): void => {
  const found = names.map((name) => [name, binary(name)] as const)
  const reasons = found.filter(([, path]) => path === undefined).map(([name]) => missing(name))
  if (reasons.length > 0 && process.env["REQUIRE_SERVICES"] === "1") {
    it(leftOut(title, reasons), () => assert.fail(`REQUIRE_SERVICES=1, but ${reasons.join("; ")}`))
    return
  }
  describeUnless(reasons, title, () => suite(Object.fromEntries(found) as { readonly [N in Name]: string }))
}

/** A suite, or if there are reasons against it, a skipped test that says why. */
export const describeUnless = (reasons: ReadonlyArray<string>, title: string, suite: () => void): void => {
  if (reasons.length === 0) {
    describe(title, suite)
    return
  }
  console.warn(leftOut(title, reasons))
  it.skip(leftOut(title, reasons), () => {})
}

const leftOut = (title: string, reasons: ReadonlyArray<string>): string => `left out: ${title} (${reasons.join("; ")})`
