/** Files with keys and certificates, looked at again and again. */
import * as Effect from "effect/Effect"
import { messageOf } from "./message.js"
import type { TlsMaterial } from "./secureContext.js"
import type { TlsSources, TlsTexts } from "./tls.js"
import { checkTls, from, readTls, validUntil } from "./tls.js"

/**
 * Takes up what has changed in the files since those texts were read, for as long as it runs. It reads them as a whole: that
 * sees every way in which a file is replaced, be it by a link to another folder. What cannot be used is told once.
 */
export const reloading = (
  sources: TlsSources,
  { ca, cert, key }: TlsTexts,
  milliseconds: number,
  renew: (tls: TlsMaterial) => void
): Effect.Effect<never> => {
  // The contents as they were last seen, or why there were none.
  let seen = JSON.stringify({ texts: { key, cert, ca } })
  const read = () =>
    readTls(sources).then(
      (texts) => ({ texts }),
      (error) => ({ error: messageOf(error) })
    )
  const look = async (): Promise<TlsMaterial | undefined> => {
    const found = await read()
    const shown = JSON.stringify(found)
    if (shown === seen) return undefined
    // In the middle of a replacement the key may still be the old one, and the certificate the new one already.
    if (JSON.stringify(await read()) !== shown) return undefined
    seen = shown
    if ("error" in found) throw new Error(found.error)
    const tls = await checkTls(found.texts, sources)
    renew(tls)
    return tls
  }
  const told = Effect.matchEffect(Effect.tryPromise({ try: look, catch: messageOf }), {
    onFailure: (why) => Effect.logError(`${why}; what was there before stays in use`),
    onSuccess: (taken) => (taken === undefined ? Effect.void : Effect.logInfo(tookUp(sources, taken)))
  })
  return Effect.forever(Effect.zipRight(Effect.sleep(milliseconds), told))
}

const tookUp = (sources: TlsSources, texts: TlsTexts): string =>
  `took up TLS files that have changed; the certificate${from(sources.cert)} is valid until ${validUntil(texts).toISOString()}`
