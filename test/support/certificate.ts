import { createPrivateKey } from "node:crypto"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { generate } from "selfsigned"

/** A key and the certificate for `localhost`, 127.0.0.1 and ::1 that it signed itself, as PEM text. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

/** Makes one. It takes milliseconds: the keys are of an elliptic curve. */
export const selfSigned = async (): Promise<Certificate> => {
  const made = await generate([{ name: "commonName", value: "localhost" }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions: [
      {
        name: "subjectAltName",
        altNames: [
          { type: 2, value: "localhost" },
          { type: 7, ip: "127.0.0.1" },
          { type: 7, ip: "::1" }
        ]
      }
    ]
  })
  return { key: made.private, cert: made.cert }
}

/** The same as an effect. */
export const certificate: Effect.Effect<Certificate> = Effect.promise(selfSigned)

/** The same key, encrypted with that passphrase. */
export const encrypted = (key: string, passphrase: string): string =>
  createPrivateKey(key).export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase }).toString()

/** Files with those contents in a folder that goes with the scope. The paths come back under the same names. */
export const files = <Name extends string>(contents: Readonly<Record<Name, string>>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => mkdtemp(join(tmpdir(), "effect-prometheus-"))),
      (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
    ).pipe(Effect.tap((folder) => Effect.promise(() => written(folder, contents)))),
    (folder) =>
      Object.fromEntries(Object.keys(contents).map((name) => [name, join(folder, name)])) as Record<Name, string>
  )

const written = async (folder: string, contents: Readonly<Record<string, string>>): Promise<void> => {
  for (const [name, content] of Object.entries(contents)) await writeFile(join(folder, name), content)
}
