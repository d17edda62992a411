/** What an object may have that nothing should trust. */

/** A property that throws when it is read. */
export const thrower = (error: unknown = new Error("no")) => ({
  get: (): never => {
    throw error
  },
  enumerable: true,
  configurable: true
})

/** An object that throws whatever is done with it. */
export const revoked = (): object => {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

/** A property with a value. */
export const value = (given: unknown): PropertyDescriptor => ({ value: given, enumerable: true, configurable: true })
