// Every entry of the package can be imported and required, with the same exports.
const { exports: entries } = require("effect-prometheus/package.json")

const main = async () => {
  const paths = Object.entries(entries).flatMap(([path, target]) => (target === null ? [] : [path]))
  for (const path of paths) {
    const name = `effect-prometheus${path.slice(1)}`
    const required = require(name)
    const imported = await import(name, name.endsWith(".json") ? { with: { type: "json" } } : undefined)
    // JSON is parsed separately by `import` and `require`.
    if (name.endsWith(".json")) continue
    const names = Object.keys(imported)
    if (names.length === 0) throw new Error(`${name} has nothing`)
    for (const each of names) {
      if (required[each] !== imported[each]) throw new Error(`${name} has two of ${each}`)
    }
    const all = require("effect-prometheus")
    const namespace = all[path.slice("./".length)]
    if (path !== "." && names.some((each) => namespace[each] !== imported[each]))
      throw new Error(`${name} is another one`)
  }
  console.log(`entries: ${paths.length} can be imported and required, on Node.js ${process.version}`)
}

main()
