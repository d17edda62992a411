/** Properties and objects that throw when they are used. */

/** A property that throws when it is read. */
export const throwingProperty = (error: unknown = new Error("no")) => ({
  get: (): never => {
    throw error
  },
  enumerable: true,
  configurable: true
})

/** An object that throws on each operation. */
export const revokedProxy = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** A property with a value. */
export const plainProperty = (given: unknown): PropertyDescriptor => ({
  value: given,
  enumerable: true,
  configurable: true
})
