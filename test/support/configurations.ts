/** The files in `examples/monitoring/configurations`, as an operator installs them. */
import { readdirSync, readFileSync } from "node:fs"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { parse, parseAllDocuments } from "yaml"
import { root } from "./snippets.js"

const folder = join(root, "examples", "monitoring", "configurations")

/** The path of a file. */
export const configurationFile = (name: string): string => join(folder, name)

/** The text of a file. */
export const configuration = (name: string): string => readFileSync(configurationFile(name), "utf8")

/** The files below the folder. */
export const configurationFiles: ReadonlyArray<string> = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))

/** The content of a file of one document. */
export const parsed = <A>(name: string): A => parse(configuration(name)) as A

/** The contents of the documents of a file. */
export const parsedAll = <A>(name: string): ReadonlyArray<A> =>
  parseAllDocuments(configuration(name)).map((document) => document.toJS() as A)

/** A scrape configuration with what the tests read of it. */
export interface ScrapeConfig {
  readonly job_name: string
  readonly relabel_configs?: ReadonlyArray<object>
}

/** The only scrape configuration of a file, with targets from this endpoint in place of those that it discovers. */
export const withTargetsFrom = (name: string, discovery: string, url: string): ScrapeConfig => {
  const [{ [discovery]: replaced, ...scrapeConfig } = {}, ...others] = parsed<{
    readonly scrape_configs: ReadonlyArray<Record<string, unknown>>
  }>(name).scrape_configs
  assert.isArray(replaced)
  assert.isEmpty(others)
  return { ...(scrapeConfig as unknown as ScrapeConfig), ...{ http_sd_configs: [{ url, refresh_interval: "1s" }] } }
}

/** A group of targets as the endpoint of `http_sd_configs` and the files of `file_sd_configs` list them. */
export interface TargetGroup {
  readonly targets: ReadonlyArray<string>
  readonly labels: Readonly<Record<string, string>>
}

/** A text with other addresses, paths or intervals. Each of the given ones must be in it. */
export const replaced = (text: string, replacements: Readonly<Record<string, string>>): string =>
  Object.entries(replacements).reduce((changed, [from, to]) => {
    assert.include(changed, from)
    return changed.replaceAll(from, to)
  }, text)

/** Writes files into a folder that goes with the scope, and returns the path of the folder. */
export const installed = (files: Readonly<Record<string, string>>): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "effect-prometheus-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  ).pipe(
    Effect.tap((path) =>
      Effect.promise(async () => {
        for (const [name, text] of Object.entries(files)) {
          await mkdir(dirname(join(path, name)), { recursive: true })
          await writeFile(join(path, name), text)
        }
      })
    )
  )
