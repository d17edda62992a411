/** Which passwords are equal, and which are invalid (RFC 7617, RFC 8265). */
import { createHash } from "node:crypto"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Option, Redacted } from "effect"
import * as MetricsServer from "../src/MetricsServer.js"
import * as Promises from "../src/Promises.js"
import { basic, hashOf } from "./support/credentials.js"
import { get } from "./support/httpClient.js"
import { serverKinds, someMetrics, started } from "./support/servers.js"

const long = "correct horse battery staple ".repeat(3)
const longer = `${long}${"é".repeat(20)}`
const digest = (text: string): Buffer => createHash("sha256").update(text).digest()
// Composed and decomposed, and with a space that does not break.
const composed = "p\u00e4ssw\u00f6rd caf\u00e9"
const decomposed = composed.normalize("NFD")
const nbsp = composed.replace(" ", "\u00a0")
const accented = (accents: number): string => `a${"\u0323\u0301".repeat(accents / 2)}${"\u0316".repeat(accents % 2)}`

interface Row {
  readonly title: string
  /** Whose hash it is. */
  readonly password: string
  readonly sent: string | Buffer
  readonly status: 200 | 401
}

const rows: ReadonlyArray<Row> = [
  { title: "an ordinary one", password: "open sesame", sent: "open sesame", status: 200 },
  { title: "one with a colon", password: "a:b:c", sent: "a:b:c", status: 200 },
  { title: "one with marks, quotes and spaces", password: ` "'$%&\\ `, sent: ` "'$%&\\ `, status: 200 },
  { title: "one of 64 bytes", password: "x".repeat(64), sent: "x".repeat(64), status: 200 },
  { title: "one of 65 bytes", password: "x".repeat(65), sent: "x".repeat(65), status: 200 },
  { title: "a long one", password: long, sent: long, status: 200 },
  { title: "a long one with accents", password: longer, sent: longer, status: 200 },
  { title: "a character beyond 16 bits", password: "🐎🔋", sent: "🐎🔋", status: 200 },
  { title: "an empty one where the hash is of one", password: "", sent: "", status: 401 },
  { title: "NUL where the hash is of an empty one", password: "", sent: "\0", status: 401 },
  { title: "many of NUL where the hash is of an empty one", password: "", sent: "\0".repeat(64), status: 401 },
  { title: "one with NUL at its end", password: "open sesame", sent: "open sesame\0", status: 401 },
  { title: "one filled up with NUL", password: "open sesame", sent: "open sesame".padEnd(64, "\0"), status: 401 },
  { title: "one with NUL, as it was hashed elsewhere", password: "open\0sesame", sent: "open\0sesame", status: 401 },
  { title: "one with a newline, as it was hashed elsewhere", password: "open\n", sent: "open\n", status: 401 },
  { title: "one with DEL, as it was hashed elsewhere", password: "open\u007f", sent: "open\u007f", status: 401 },
  { title: "one with a C1 control character", password: "open\u0085", sent: "open\u0085", status: 401 },
  { title: "the digest of a long one", password: long, sent: digest(long), status: 401 },
  { title: "the digest of a long one with accents", password: longer, sent: digest(longer), status: 401 },
  { title: "the digest of one of 65 bytes", password: "x".repeat(65), sent: digest("x".repeat(65)), status: 401 },
  { title: "the digest as text", password: long, sent: digest(long).toString("hex"), status: 401 },
  { title: "composed letters, hashed so", password: composed, sent: composed, status: 200 },
  { title: "decomposed letters, hashed composed", password: composed, sent: decomposed, status: 200 },
  { title: "composed letters, hashed decomposed elsewhere", password: decomposed, sent: composed, status: 200 },
  { title: "decomposed letters, hashed so elsewhere", password: decomposed, sent: decomposed, status: 200 },
  { title: "a space that does not break, where it is hashed as a space", password: composed, sent: nbsp, status: 200 },
  { title: "a space that does not break, hashed so elsewhere", password: nbsp, sent: nbsp, status: 200 },
  { title: "letters without their accents", password: composed, sent: "password cafe", status: 401 },
  { title: "ligatures apart", password: "ﬁnd", sent: "find", status: 401 },
  { title: "Latin-1 in the place of UTF-8", password: composed, sent: Buffer.from(composed, "latin1"), status: 401 },
  { title: "cut UTF-8", password: "é", sent: Buffer.from([0xc3]), status: 401 },
  { title: "overlong UTF-8 of NUL", password: "", sent: Buffer.from([0xc0, 0x80]), status: 401 },
  { title: "a letter with thirty accents", password: accented(30).normalize("NFC"), sent: accented(30), status: 200 },
  { title: "a letter with more of them", password: accented(31), sent: accented(31), status: 401 },
  { title: "accents without a letter", password: accented(31).slice(1), sent: accented(31).slice(1), status: 401 },
  { title: "a replacement character", password: "é", sent: "\ufffd", status: 401 }
]

const authorization = (name: string | Buffer, password: string | Buffer) => ({
  authorization: `Basic ${Buffer.concat([Buffer.from(name), Buffer.from(":"), Buffer.from(password)]).toString("base64")}`
})

const user = (index: number): string => `user-${index}`

for (const kind of serverKinds) {
  describe(`A password that is sent to a metrics server ${kind.name}`, () => {
    it.scopedLive("is let in where it is that of the hash, however it is written, and nothing else is", () =>
      Effect.gen(function* () {
        const users = Object.fromEntries(rows.map(({ password }, index) => [user(index), hashOf(password)]))
        const server = yield* started(kind, { authentication: { users } }, { registry: someMetrics() })
        for (const [index, { sent, status, title }] of rows.entries()) {
          // Once more, as it may be remembered.
          for (const headers of [authorization(user(index), sent), authorization(user(index), sent)]) {
            assert.strictEqual((yield* get(server.url, { headers })).status, status, title)
          }
        }
      })
    )

    it.scopedLive("is that of its user, whose name may be composed or decomposed", () =>
      Effect.gen(function* () {
        const names = ["J\u00fcrgen", "Rene\u0301", "ｆｕｌｌ"]
        const users = Object.fromEntries(names.map((name) => [name, hashOf("open sesame")]))
        const server = yield* started(kind, { authentication: { users } }, { registry: someMetrics() })
        const status = (headers: Readonly<Record<string, string>>) =>
          Effect.map(get(server.url, { headers }), ({ status }) => status)
        for (const name of names) {
          for (const written of [name, name.normalize("NFC"), name.normalize("NFD")]) {
            assert.strictEqual(yield* status(basic(written, "open sesame")), 200, written)
            assert.strictEqual(yield* status(basic(written, "open sesami")), 401, written)
          }
        }
        assert.strictEqual(yield* status(basic("full", "open sesame")), 401)
        assert.strictEqual(yield* status(authorization(Buffer.from("J\u00fcrgen", "latin1"), "open sesame")), 401)
      })
    )

    it.scopedLive("is let in by what hashPassword makes of it, composed or decomposed", () =>
      Effect.gen(function* () {
        const users = {
          composed: yield* MetricsServer.hashPassword(composed),
          decomposed: yield* MetricsServer.hashPassword(Redacted.make(decomposed)),
          nbsp: yield* Effect.promise(() => Promises.hashPassword(nbsp)),
          long: yield* MetricsServer.hashPassword(long)
        }
        const server = yield* started(kind, { authentication: { users } }, { registry: someMetrics() })
        const status = (name: string, password: string | Buffer) =>
          Effect.map(get(server.url, { headers: authorization(name, password) }), ({ status }) => status)
        for (const name of ["composed", "decomposed", "nbsp"]) {
          for (const sent of [composed, decomposed, nbsp]) assert.strictEqual(yield* status(name, sent), 200, name)
        }
        assert.strictEqual(yield* status("long", digest(long)), 401)
        assert.strictEqual(yield* status("long", long), 200)
      })
    )
  })
}

/** What no password can be, and what is said of it. */
const none: ReadonlyArray<readonly [string, unknown, string]> = [
  ["an empty text", "", "it is empty"],
  ["a redacted empty text", Redacted.make(""), "it is empty"],
  ["NUL", "\0", "control characters"],
  ["a text with NUL", "S3CRETcanary\0", "control characters"],
  ["a text with a newline", "S3CRETcanary\n", "control characters"],
  ["a redacted text with a tab", Redacted.make("S3CRET\tcanary"), "control characters"],
  ["a text with DEL", "S3CRETcanary\u007f", "control characters"],
  ["a text with a C1 control character", "S3CRETcanary\u009b", "control characters"],
  ["half of a character", "S3CRETcanary\ud83d", "an unpaired surrogate"],
  ["a letter with 31 accents", `S3CRETcanary${accented(31)}`, "more than 30 accents"],
  ["nothing", undefined, "undefined"],
  ["null", null, "null"],
  ["a number", 12_345_678, "a number of 8 characters"],
  ["a list", ["S3CRETcanary"], "an array of length 1"],
  ["an object", { password: "S3CRETcanary" }, "an object"],
  ["bytes", Buffer.from("S3CRETcanary"), "12 bytes"],
  ["a function", () => "S3CRETcanary", "a function"],
  ["a redacted number", Redacted.make(12_345_678), "redacted: a number"],
  ["a redacted list", Redacted.make(["S3CRETcanary"]), "redacted: an array"]
]

describe("hashPassword", () => {
  for (const [what, given, shown] of none) {
    it.live(`refuses ${what} with an error that does not show its value`, () =>
      Effect.gen(function* () {
        const exit = yield* Effect.exit(MetricsServer.hashPassword(given as string))
        const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
        const thrown = yield* Effect.promise(() => Promises.hashPassword(given as string).catch((error) => error))
        assert.instanceOf(error, MetricsServer.MetricsServerError)
        assert.strictEqual(error.reason, "InvalidOptions")
        assert.instanceOf(thrown, RangeError)
        for (const one of [error, thrown]) {
          assert.include(one.message, "the password must")
          assert.include(one.message, shown)
          const all = `${inspect(one, { depth: Number.POSITIVE_INFINITY, showHidden: true })} ${JSON.stringify(one)}`
          for (const piece of ["S3CRET", "canary", "12345678", "12_345_678"]) assert.notInclude(all, piece)
        }
      })
    )
  }
})
