import { createPrivateKey } from "node:crypto"
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { type CertificateExtension, generate, type SubjectAltNameExtension } from "selfsigned"
import { eventually, outcome } from "./httpClient.js"

/** A key and a certificate, as PEM text; the certificate is for `localhost`, 127.0.0.1 and ::1 by default. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

type Names = NonNullable<SubjectAltNameExtension["altNames"]>

export interface CertificateOptions {
  /** As in RFC 4514: `a\, b` for `a, b`, `a+OU=b` for a multi-valued attribute. Default: `localhost`. */
  readonly commonName?: string
  /** Default: those of this machine. */
  readonly names?: Names
  /** When it ended to be valid, or will. Default: in a year. */
  readonly until?: Date
  /** Default: now, or with `until` an hour before that. */
  readonly validFrom?: Date
}

/** This machine, as a server is asked for. */
export const localhostNames: Names = [
  { type: 2, value: "localhost" },
  { type: 7, ip: "127.0.0.1" },
  { type: 7, ip: "::1" }
]

const hour = 3_600_000

const made = async (
  by: Certificate | undefined,
  extensions: Array<CertificateExtension>,
  issued: CertificateOptions
) => {
  const { commonName = "localhost", until, validFrom } = issued
  const { cert, private: key } = await generate([{ name: "commonName", value: commonName }], {
    keyType: "ec",
    algorithm: "sha256",
    extensions,
    ...(by === undefined ? {} : { ca: by }),
    ...(until && { notBeforeDate: validFrom ?? new Date(until.getTime() - hour), notAfterDate: until })
  })
  return { key, cert }
}

const named = (altNames: Names): Array<CertificateExtension> =>
  altNames.length === 0 ? [] : [{ name: "subjectAltName", altNames }]

/** Makes one that signed itself. It takes milliseconds: the keys are of an elliptic curve. */
export const selfSigned = (issued: CertificateOptions = {}): Promise<Certificate> =>
  made(undefined, named(issued.names ?? localhostNames), issued)

/** A certificate authority. */
export interface Authority extends Certificate {
  readonly issue: (issued?: CertificateOptions) => Effect.Effect<Certificate>
  /** Makes an authority below this one. */
  readonly issueAuthority: (issued: CertificateOptions) => Effect.Effect<Authority>
}

/** Makes an authority. */
export const authority = (commonName = "authority"): Effect.Effect<Authority> => authorityBy(undefined, { commonName })

const authorityBy = (by: Certificate | undefined, options: CertificateOptions): Effect.Effect<Authority> =>
  Effect.promise(async () => {
    const usage: Array<CertificateExtension> = [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, critical: true }
    ]
    const own = await made(by, usage, options)
    const leaf: CertificateExtension = { name: "basicConstraints", cA: false }
    return {
      ...own,
      issue: (issued = {}) => Effect.promise(() => made(own, [leaf, ...named(issued.names ?? localhostNames)], issued)),
      issueAuthority: (issued) => authorityBy(own, issued)
    }
  })

/** The same as an effect. */
export const certificate: Effect.Effect<Certificate> = Effect.promise(() => selfSigned())

/** The same key, encrypted with that passphrase. */
export const encrypted = (key: string, passphrase: string): string =>
  createPrivateKey(key).export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase }).toString()

/** Files with those contents in a folder that goes with the scope. The paths come back under the same names. */
export const temporaryFiles = <Name extends string>(contents: Readonly<Record<Name, string>>) =>
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

/** Replaces a file by renaming another one to its path, so that the path is never missing unless it is a folder. */
export const replaceFile = (path: string, content: string): Effect.Effect<void> =>
  Effect.promise(async () => {
    await writeFile(`${path}.new`, content)
    await rename(`${path}.new`, path).catch(async () => {
      await rm(path, { recursive: true, force: true })
      await rename(`${path}.new`, path)
    })
  })

/** Waits until new connections get that certificate. */
export const awaitCertificate = (url: string, { cert }: Certificate): Effect.Effect<void> =>
  eventually("it shows the new certificate", async () => (await Effect.runPromise(outcome(url, { ca: cert }))) === 200)
