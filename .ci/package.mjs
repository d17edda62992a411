/**
 * Packs the built package as for publishing, lints it, and uses it in empty folders as applications do:
 * `npm run package`, or only some of the parts: `npm run package -- types runtimes`.
 *
 * Other runtimes and Consul are those that `.ci/services` has installed. A check that needs one that is missing is left
 * out, or fails with REQUIRE_SERVICES=1.
 */
import { spawn, spawnSync } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const work = mkdtempSync(join(tmpdir(), "effect-prometheus-"))
const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** In the versions of this project. */
const specs = (...names) => names.map((name) => `${name}@${devDependencies[name]}`)

const newest = specs("effect", "@effect/platform", "@effect/platform-node", "prom-client")

// The oldest versions that the peer dependencies allow together.
const lowest = ["effect@3.19.13", "@effect/platform@0.94.0", "@effect/platform-node@0.104.0", "prom-client@15.0.0"]

// Peers of the old @effect/platform-node, of which npm would take versions that need a newer effect.
const lowestPeers = ["@effect/cluster@0.56.0", "@effect/rpc@0.73.0", "@effect/sql@0.49.0"]

const minutes = 60_000

/** Ends with an error if the program does. */
const run = (cwd, [file, ...args], env = {}) => {
  const options = { cwd, env: { ...process.env, ...env }, timeout: 10 * minutes, killSignal: "SIGKILL" }
  const { status, signal, error } = spawnSync(file, args, { ...options, stdio: ["ignore", "inherit", "inherit"] })
  if (status !== 0) throw new Error(`${[file, ...args].join(" ")}: ${error ?? signal ?? `exit code ${status}`}`)
}

const tarball = () => {
  const [{ filename }] = JSON.parse(
    spawnSync("npm", ["pack", "--json", "--pack-destination", work], { cwd: root }).stdout
  )
  return join(work, filename)
}

/** A folder with the files of a consumer, the package, and other packages. */
const folder = (name, consumer, packages) => {
  const path = join(work, name)
  cpSync(join(root, ".ci", "consumers", consumer), path, { recursive: true })
  const manifest = join(path, "package.json")
  if (!existsSync(manifest))
    writeFileSync(manifest, JSON.stringify({ name: "consumer", private: true, type: "module" }))
  const install = ["npm", "install", "--loglevel=error", "--no-fund", "--no-audit", "--ignore-scripts"]
  try {
    run(path, [...install, packed, ...packages])
  } catch {
    // A download can fail.
    run(path, [...install, packed, ...packages])
  }
  return path
}

const leftOut = (what, variable) => {
  console.log(`left out: ${what}, because ${variable} is not set`)
  if (process.env.REQUIRE_SERVICES === "1") throw new Error(`${variable} is required`)
}

/** The programs of these variables, with the name and the command of each. */
const runtimes = (variables) =>
  variables.flatMap((variable) => {
    const file = process.env[variable]
    if (file === undefined) return leftOut("the checks on another runtime", variable) ?? []
    const [version] = spawnSync(file, ["--version"], { encoding: "utf8" }).stdout.split("\n")
    const [runtime] = variable.split("_")
    const name = { BUN: `Bun ${version}`, DENO: version }[runtime] ?? `Node.js ${version}`
    return [{ name, command: runtime === "DENO" ? [file, "run", "--allow-all"] : [file] }]
  })

const thisNode = { name: `Node.js ${process.version}`, command: [process.execPath] }

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/** Resolves when a server accepts connections on the port, or none does any more. */
const listening = async (port, isExpected = true) => {
  const until = Date.now() + minutes
  const isOpen = () =>
    new Promise((resolve) => {
      const socket = connect({ port, host: "127.0.0.1" }, () => resolve(true)).on("error", () => resolve(false))
      socket.on("connect", () => socket.destroy())
    })
  while ((await isOpen()) !== isExpected) {
    if (Date.now() > until) throw new Error(`${isExpected ? "nothing" : "a program still"} listens on port ${port}`)
    await setTimeout(100)
  }
}

/** A development agent of Consul, and its address. */
const consulAgent = async (use) => {
  const file = process.env.CONSUL_BIN
  if (file === undefined) return use(leftOut("the checks with Consul", "CONSUL_BIN"))
  const [http, server, lan, wan] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  const ports = ["-http-port", http, "-server-port", server, "-serf-lan-port", lan, "-serf-wan-port", wan]
  const without = ["-dns-port", -1, "-grpc-port", -1]
  const args = ["agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", ...ports, ...without].map(String)
  const agent = spawn(file, args, { stdio: "ignore" })
  const ended = new Promise((resolve) => agent.once("exit", resolve))
  const address = `http://127.0.0.1:${http}`
  try {
    const until = Date.now() + minutes
    const leader = () =>
      fetch(`${address}/v1/status/leader`).then(
        (response) => response.json(),
        () => ""
      )
    while ((await leader()) === "") if (Date.now() > until) throw new Error("Consul did not start")
    await use(address)
  } finally {
    agent.kill()
    await ended
  }
}

const parts = {
  /** The contents of the package, and its declarations for each way of resolving modules. */
  lint: () => {
    run(root, ["npx", "publint", "run", packed, "--strict"])
    run(root, ["npx", "attw", packed])
  },

  /**
   * Programs in TypeScript and JavaScript, as ES modules and as CommonJS, that measure, serve, scrape themselves, and
   * end. Types are checked without `skipLibCheck`.
   */
  types: () => {
    const tools = specs("typescript", "@types/node")
    const nodes = [thisNode, ...runtimes(["NODE24_BIN"])].map(({ command }) => command)
    const ends = (path, ...files) => {
      for (const file of files) for (const node of nodes) run(path, [...node, file])
    }
    const compiled = (path, ...modules) => {
      for (const module of modules) {
        rmSync(join(path, "dist"), { recursive: true, force: true })
        run(path, ["npx", "tsc", "--module", module])
        ends(path, "dist/esm.js", "dist/commonjs-types.cjs")
        console.log(`types: declarations and programs are right with module ${module}`)
      }
      ends(path, "commonjs.cjs", "entries.cjs")
    }
    const path = folder("newest", "types", [...newest, ...tools])
    compiled(path, "nodenext", "node20")
    // Older applications: `moduleResolution: node`, which ignores `exports`.
    run(path, ["npx", "tsc", "-p", "tsconfig.classic.json"])
    ends(path, "dist/commonjs-types.cjs")
    console.log("types: the same with module commonjs and moduleResolution node")

    compiled(folder("lowest", "types", [...lowest, ...lowestPeers, ...tools]), "nodenext")
    console.log(`types: the same with ${lowest.join(", ")}`)

    const client = "@prometheus-io/client"
    const newer = folder("newer", "types", [...specs("effect", client), ...tools])
    for (const file of ["esm.ts", "commonjs-types.cts", "commonjs.cjs"]) {
      const text = readFileSync(join(newer, file), "utf8")
      writeFileSync(join(newer, file), text.replaceAll('"prom-client"', `"${client}"`))
    }
    compiled(newer, "nodenext")
    console.log(`types: the same with ${client} alone`)
  },

  /** The same checks on each runtime. */
  runtimes: () =>
    consulAgent((address) => {
      const check = (path, { name, command }, env = {}) => {
        const consul = address === undefined ? {} : { CONSUL_HTTP_ADDR: address }
        run(path, ["node", "checks.mjs", name, ...command], { ...consul, ...env })
      }
      const tools = [...specs("selfsigned"), "@effect/platform-bun@0", "ws@8"]
      const path = folder("runtimes", "runtimes", [...newest, ...tools])
      run(path, ["node", "certificates.mjs"])
      for (const runtime of [thisNode, ...runtimes(["NODE22_BIN", "NODE24_BIN", "BUN_BIN", "DENO_BIN"])]) {
        check(path, runtime)
      }

      const old = folder("old", "runtimes", [...lowest, ...lowestPeers, ...specs("selfsigned"), "ws@8"])
      run(old, ["node", "certificates.mjs"])
      check(old, { ...thisNode, name: `${thisNode.name}, lowest versions` })
    }),

  /** A bundle of each bundler, with the file of the worker beside it, in a folder without packages. */
  bundlers: () => {
    const rollup = ["commonjs", "json", "node-resolve"].map((name) => `@rollup/plugin-${name}`)
    const tools = ["esbuild@0.28", "webpack@5", "webpack-cli", "rollup@4", "rolldown@1", ...rollup]
    const path = folder("bundlers", "bundlers", [...specs("effect", "prom-client"), ...tools])
    const source = readFileSync(join(path, "application.mjs"), "utf8")
    writeFileSync(
      join(path, "commonjs.cjs"),
      source.replaceAll(/^import (.*) from (.*)$/gm, (_, names, from) => `const ${names} = require(${from})`)
    )
    const works = (bundler, file, command = [process.execPath]) => {
      const alone = mkdtempSync(join(work, "bundle-"))
      cpSync(join(path, bundler), alone, { recursive: true })
      cpSync(join(path, "node_modules", "effect-prometheus", "dist", "esm", "worker.mjs"), join(alone, "worker.mjs"))
      console.log(`${bundler}:`)
      run(alone, [...command, file])
    }
    const esbuild = ["npx", "esbuild", "--bundle", "--platform=node", "--log-level=warning"]
    run(path, [...esbuild, "commonjs.cjs", "--format=cjs", "--outfile=esbuild-commonjs/application.cjs"])
    works("esbuild-commonjs", "application.cjs")
    // prom-client is CommonJS, and asks for modules of Node.js.
    const banner =
      'import { createRequire as newRequire } from "node:module"; const require = newRequire(import.meta.url)'
    run(path, [
      ...esbuild,
      "application.mjs",
      "--format=esm",
      "--outfile=esbuild/application.mjs",
      `--banner:js=${banner}`
    ])
    works("esbuild", "application.mjs")
    run(path, ["npx", "webpack", "--stats=errors-warnings", "--fail-on-warnings"])
    works("webpack", "application.mjs")
    works("webpack-commonjs", "application.cjs")
    run(path, ["npx", "rollup", "-c", "--silent"])
    works("rollup", "application.mjs")
    run(path, ["npx", "rolldown", "application.mjs", "--platform=node", "--log-level=silent", "-d", "rolldown"])
    works("rolldown", "application.js")
    for (const { command } of runtimes(["BUN_BIN"])) {
      run(path, [...command, "build", "application.mjs", "--target=bun", "--outdir=bun"])
      works("bun", "application.js", command)
    }
  },

  /** The two starts of the README, as printed, in an empty folder, with free ports. */
  readme: async () => {
    const text = readFileSync(join(root, "README.md"), "utf8")
    const [ports, starts] = [await Promise.all([freePort(), freePort()]), ["Start with Effect", "Start with promises"]]
    const adapted = (code) =>
      code
        .replaceAll("3000", ports[0])
        .replaceAll("9464", ports[1])
        .replace("npm install effect-prometheus", `npm install --no-fund --no-audit ${packed}`)
    const sections = starts.map((heading) => {
      const [, section] = new RegExp(`^## ${heading}$(.*?)^## `, "ms").exec(text)
      const blocks = [...section.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, code]) => [
        language,
        adapted(code)
      ])
      return { file: /Save this as `([\w.]+)`/.exec(section)[1], blocks }
    })
    for (const [index, { file, blocks }] of sections.entries()) {
      const path = join(work, `readme-${index}`)
      mkdirSync(path)
      const [[, install], [, code], ...others] = blocks
      run(path, ["bash", "-ec", install])
      writeFileSync(join(path, file), code)
      const commands = others.flatMap(([language, code]) => (language === "sh" ? code.trim().split("\n") : []))
      const printed = others
        .find(([language]) => language === "")[1]
        .trim()
        .split("\n")
      for (const { name, command } of [thisNode, ...runtimes(["NODE24_BIN", "BUN_BIN"])]) {
        const [given, ...requests] = commands
        const start = given === undefined || name.startsWith("Bun") ? `exec ${command[0]} ${file}` : given
        const environment = { ...process.env, PATH: `${dirname(command[0])}:${process.env.PATH}` }
        const program = spawn("bash", ["-ec", start], {
          cwd: path,
          env: environment,
          detached: true,
          stdio: ["ignore", "pipe", "inherit"]
        })
        let output = ""
        program.stdout.on("data", (part) => {
          output += part
        })
        const curl = requests.length === 0 ? [`curl http://localhost:${ports[1]}/metrics`] : requests
        const used = ports.filter((port) => code.includes(port))
        try {
          await Promise.all(used.map((port) => listening(port)))
          const { stderr, stdout } = spawnSync("bash", ["-ec", curl.join("\n")], { encoding: "utf8" })
          const missing = () => {
            const lines = (output + stdout).split("\n")
            return printed.filter((line) => !lines.includes(line))
          }
          // What the program prints may arrive after the answer of its server.
          for (let waited = 0; missing().length > 0 && waited < 5000; waited += 50) await setTimeout(50)
          if (missing().length > 0 || !stdout.includes("_seconds_count ")) {
            throw new Error(
              `${file} on ${name} did not print ${missing().join(", ")}, but: ${output}${stdout}${stderr}`
            )
          }
        } finally {
          process.kill(-program.pid, "SIGTERM")
          await new Promise((resolve) =>
            program.exitCode === null && program.signalCode === null ? program.once("exit", resolve) : resolve()
          )
          // What it has started may end later, and would answer the requests to the next program.
          await Promise.all(used.map((port) => listening(port, false)))
        }
        console.log(`readme: ${file} on ${name} prints what the README says`)
      }
    }
  },

  /** An application of Next.js, built with each of its bundlers. */
  next: () => {
    const path = folder("next", "next", [
      "next@16",
      "react@19",
      "react-dom@19",
      "@types/react@19",
      ...specs("effect", "prom-client", "typescript", "@types/node")
    ])
    for (const bundler of ["turbopack", "webpack"]) run(path, ["node", "check.mjs", bundler])
  },

  /** Other package managers than npm. */
  managers: () => {
    const check = join(root, ".ci", "consumers", "package-managers", "check")
    for (const manager of ["pnpm", "yarn1", "yarn-node-modules", "yarn-pnp"]) run(root, [check, packed, manager])
  },

  /** NestJS, Jest, ts-jest and ts-node, with the settings that their command lines create. */
  commonjs: () => {
    const nest = ["common", "core", "platform-express", "testing"].map((name) => `@nestjs/${name}@11`)
    const tools = ["jest@30", "ts-jest@29", "ts-node@10", "rxjs@7", "@types/jest@30"]
    const shared = specs("effect", "prom-client", "typescript", "@types/node", "@types/express", "reflect-metadata")
    const path = folder("commonjs", "commonjs", [
      ...nest,
      ...tools,
      ...shared,
      ...specs("supertest", "@types/supertest")
    ])
    run(path, ["npx", "jest", "--ci"])
    run(path, ["npx", "ts-node", "application.ts"])
    run(path, ["npx", "tsc"])
    for (const { command } of [thisNode, ...runtimes(["NODE24_BIN"])]) run(path, [...command, "out/application.js"])
  }
}

const packed = tarball()
try {
  const chosen = process.argv.slice(2)
  for (const name of chosen.length === 0 ? Object.keys(parts) : chosen) {
    const start = Date.now()
    console.log(`\n-- ${name}`)
    await parts[name]()
    console.log(`-- ${name}: ok after ${Math.round((Date.now() - start) / 1000)} s`)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
