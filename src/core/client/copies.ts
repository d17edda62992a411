/**
 * Notices further copies of this library and of the client in a process, as a bundler, a monorepo or a reset of the
 * modules makes them. Each copy of the client has its own global registry.
 */
import { moduleFormat, version } from "../util/build.js"
import { ofGlobalObject } from "../util/oncePerProcess.js"

/** Read by other versions. */
interface Copies {
  readonly libraries: Array<string>
  /** The position in which each global registry was seen. */
  readonly registries: WeakMap<object, number>
  seen: number
  isWarned: boolean
}

const copies = ofGlobalObject<Copies>("copies", () => ({
  libraries: [],
  registries: new WeakMap(),
  seen: 0,
  isWarned: false
}))

/**
 * Remembers this copy and its client. Returns 1 for the first global registry in this process, 2 for the second one.
 * Warns once per process.
 */
export const noticeCopy = (client: string, registry: object): number => {
  const { libraries, registries } = copies
  const known = registries.get(registry)
  const position = known ?? copies.seen + 1
  if (known === undefined) {
    registries.set(registry, position)
    copies.seen = position
  }
  const copy = `${version} ${moduleFormat}`
  const isOther = libraries.some((other) => other === copy || !other.startsWith(`${version} `))
  libraries.push(copy)
  if ((position > 1 || isOther) && !copies.isWarned) {
    copies.isWarned = true
    process.emitWarning(warning(client, position > 1), {
      type: "EffectPrometheusWarning",
      code: "EFFECT_PROMETHEUS_COPIES"
    })
  }
  return position
}

const warning = (client: string, hasOtherClient: boolean): string =>
  (hasOtherClient
    ? `two copies of effect-prometheus are loaded, each with its own copy of ${client}: metrics of one copy are missing in the exposition of the other`
    : `two copies of effect-prometheus are loaded: ${copies.libraries.join(" and ")}`) +
  `. \`npm ls effect-prometheus ${client}\` shows what is installed more than once; in Next.js, add both packages to ` +
  'serverExternalPackages. See "Two copies" in node_modules/effect-prometheus/docs/troubleshooting.md'
