interface Entries<K, V> {
  get(key: K): V | undefined
  set(key: K, value: V): unknown
}

/** The value of the key. If there is none, `make` provides it, as in `getOrInsertComputed` of newer JavaScript. */
export const getOrInsert = <K, V>(entries: Entries<K, V>, key: NoInfer<K>, make: (key: K) => NoInfer<V>): V => {
  const known = entries.get(key)
  if (known !== undefined) return known
  const made = make(key)
  entries.set(key, made)
  return made
}
