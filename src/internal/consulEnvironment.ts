/** The environment variables of Consul's own tools. */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { isBlank, shown } from "./options.js"

// A variable that is empty counts as one that is not set, as with Consul's own tools; so does one that is blank.
const variable = (name: string): Config.Config<string | undefined> =>
  Config.map(Config.option(Config.string(name)), (value) =>
    Option.getOrUndefined(Option.filter(value, (text) => !isBlank(text)))
  )

const secret = (name: string): Config.Config<Redacted.Redacted<string> | undefined> =>
  Config.map(variable(name), (value) => (value === undefined ? undefined : Redacted.make(value)))

// The words that Go's strconv.ParseBool takes.
const flag = (name: string, fallback: boolean): Config.Config<boolean> =>
  Config.mapOrFail(variable(name), (value) => {
    if (value === undefined) return Either.right(fallback)
    if (/^(1|t|true)$/i.test(value)) return Either.right(true)
    if (/^(0|f|false)$/i.test(value)) return Either.right(false)
    return Either.left(ConfigError.InvalidData([name], `${name} must be true or false, not ${shown(value)}`))
  })

/** The variables, by what they say. They are made when they are wanted: to load the library is to take no time for it. */
export const environment = () =>
  Config.all({
    address: variable("CONSUL_HTTP_ADDR"),
    token: secret("CONSUL_HTTP_TOKEN"),
    tokenFile: variable("CONSUL_HTTP_TOKEN_FILE"),
    auth: secret("CONSUL_HTTP_AUTH"),
    ssl: flag("CONSUL_HTTP_SSL", false),
    verify: flag("CONSUL_HTTP_SSL_VERIFY", true),
    ca: variable("CONSUL_CACERT"),
    cert: variable("CONSUL_CLIENT_CERT"),
    key: variable("CONSUL_CLIENT_KEY"),
    serverName: variable("CONSUL_TLS_SERVER_NAME"),
    namespace: variable("CONSUL_NAMESPACE")
  })
