/** Notices that a request is upgraded to another protocol. */
import type { HttpServerRequest } from "@effect/platform/HttpServerRequest"
import type { Socket } from "@effect/platform/Socket"
import * as Effect from "effect/Effect"

/** Calls `opened` when the socket of its upgrade is open. Changes a request only if the client asks for an upgrade. */
export const observeUpgrade = <Request extends HttpServerRequest>(
  request: Request,
  opened: (request: Request) => void
): void => {
  if (canUpgrade(request)) Reflect.defineProperty(request, "upgrade", upgrading(request.upgrade, opened))
}

const upgrading = <Request extends HttpServerRequest>(
  upgrade: HttpServerRequest["upgrade"],
  opened: (request: Request) => void
): PropertyDescriptor & ThisType<Request> => ({
  configurable: true,
  get() {
    return Effect.map(upgrade, (socket) => opening(socket, () => opened(this)))
  }
})

// Node.js creates the response of an upgrade when it is needed. On other platforms, any request may be an upgrade.
const canUpgrade = (request: HttpServerRequest): boolean => {
  const { response } = request as { readonly response?: unknown }
  return typeof response === "function" || (response === undefined && request.headers["upgrade"] !== undefined)
}

const opening = (socket: Socket, open: () => void): Socket => {
  const opened = Effect.sync(open)
  const opens = (run: unknown) => (handler: unknown, options?: { readonly onOpen?: Effect.Effect<void> }) =>
    Reflect.apply(run as () => unknown, socket, [
      handler,
      { ...options, onOpen: options?.onOpen === undefined ? opened : Effect.zipRight(opened, options.onOpen) }
    ])
  return new Proxy(socket, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target)
      return key === "run" || key === "runRaw" ? opens(value) : value
    }
  })
}

/** Whether it was upgraded, where only the request itself shows it. */
export const isUpgraded = (_: HttpServerRequest): boolean => false
