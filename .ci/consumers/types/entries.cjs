// Every entry of the package can be imported and required, with the same exports.
const { exports: entries } = require("effect-prometheus/package.json")

const main = async () => {
  const paths = Object.keys(entries).filter((path) => !path.endsWith(".json"))
  const all = { imported: await import("effect-prometheus"), required: require("effect-prometheus") }
  for (const path of paths) {
    const name = `effect-prometheus${path.slice(1)}`
    const required = require(name)
    const imported = await import(name)
    const names = Object.keys(imported)
    if (names.length === 0) throw new Error(`${name} has nothing`)
    if (String(names.sort()) !== String(Object.keys(required).sort())) throw new Error(`${name} has other exports`)
    if (path === ".") continue
    for (const each of names) {
      const namespace = path.slice("./".length)
      if (all.imported[namespace][each] !== imported[each] || all.required[namespace][each] !== required[each]) {
        throw new Error(`${name} has two of ${each}`)
      }
    }
  }
  console.log(`entries: ${paths.length} can be imported and required, on Node.js ${process.version}`)
}

main()
