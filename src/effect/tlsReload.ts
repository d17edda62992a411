/** Reloads keys and certificates when their files change. */
import * as Effect from "effect/Effect"
import { checkTls, readTls, type TlsTexts, validUntil } from "../core/server/tls/material.js"
import type { TlsSources } from "../core/server/tls/options.js"
import type { TlsMaterial } from "../core/server/tls/secureContext.js"
import { originOf } from "../core/util/pem.js"
import { clearTimeout, setTimeout } from "../core/util/realTimers.js"
import { messageOf } from "../core/util/text.js"
import { harmless } from "./log.js"

/**
 * In milliseconds. Files are compared by content, which detects every way of replacing them, including a link to
 * another folder. An error is logged once.
 */
export const reloadTls = (
  sources: TlsSources,
  { ca, cert, key }: TlsTexts,
  interval: number,
  unref: boolean,
  renew: (tls: TlsMaterial) => void
): Effect.Effect<never> => {
  // The last contents, or the last error.
  let last = JSON.stringify({ texts: { key, cert, ca } })
  const read = () =>
    readTls(sources).then(
      (texts) => ({ texts }),
      (error) => ({ error: messageOf(error) })
    )
  const reload = async (): Promise<TlsMaterial | undefined> => {
    const found = await read()
    const current = JSON.stringify(found)
    if (current === last) return undefined
    // During a replacement, the key may be the old one and the certificate the new one. Contents count only if two
    // readings are equal.
    if (JSON.stringify(await read()) !== current) return undefined
    last = current
    if ("error" in found) throw new Error(found.error)
    const tls = await checkTls(found.texts, sources)
    renew(tls)
    return tls
  }
  const reloadAndLog = Effect.matchEffect(Effect.tryPromise({ try: reload, catch: messageOf }), {
    onFailure: (why) => Effect.logError(`cannot reload the TLS files, the previous ones stay in use: ${why}`),
    onSuccess: (tls) => (tls === undefined ? Effect.void : Effect.logInfo(reloaded(sources, tls)))
  })
  const pause = unref ? unreferenced(interval) : Effect.sleep(interval)
  return Effect.forever(Effect.andThen(pause, harmless(reloadAndLog)))
}

// The timer of `Effect.sleep` keeps the process alive.
const unreferenced = (milliseconds: number): Effect.Effect<void> =>
  Effect.promise(
    (signal) =>
      new Promise((resolve) => {
        const timer = setTimeout(() => resolve(), milliseconds)
        timer.unref()
        signal.addEventListener("abort", () => clearTimeout(timer), { once: true })
      })
  )

const reloaded = (sources: TlsSources, texts: TlsTexts): string =>
  `reloaded the changed TLS files; the certificate${originOf(sources.cert)} is valid until ${validUntil(texts).toISOString()}`
