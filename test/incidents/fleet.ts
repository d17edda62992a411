/** The processes of the incidents, the requests to them, and the list of targets by which Prometheus finds them. */
import { type ChildProcess, fork } from "node:child_process"
import { mkdirSync, renameSync, writeFileSync } from "node:fs"
import { Agent, request } from "node:http"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { memoryGroup } from "../support/memoryGroup.js"

export interface ServiceOptions {
  /** Options of `ConsulAgent`. */
  readonly consul?: object
  readonly names?: "otel"
  /** Of its metrics server. Default: any free one. */
  readonly port?: number
  readonly tls?: { readonly key: string; readonly cert: string }
  /** The token that a scrape needs. */
  readonly token?: string
  readonly execArgv?: ReadonlyArray<string>
  /** The memory limit of its control group, in bytes. */
  readonly memory?: number
  /** Labels of its target in addition to `job` and `instance`. */
  readonly labels?: Readonly<Record<string, string>>
  /** Whether Prometheus scrapes it. Default: yes. */
  readonly isTarget?: boolean
}

export interface RequestOptions {
  readonly path?: string
  /** Per second. */
  readonly rate: number
  /** After which the client closes the connection, in milliseconds. */
  readonly timeout?: number
}

/** A running service. */
export interface Service {
  readonly instance: string
  /** Of its metrics server. */
  readonly port: number
  /** Breaks it; see `service.mjs`. */
  readonly break: (how: object) => Promise<void>
  /** Sends it requests from now on, until it ends or the result is called. */
  readonly visit: (how: RequestOptions) => () => void
  readonly kill: () => Promise<void>
  /** Removes it from the targets. */
  readonly forget: () => void
  /** Resolves with the time when the process has ended. */
  readonly ended: Promise<number>
}

interface Ports {
  readonly metrics: number
  readonly requests: number
}

interface Target {
  readonly targets: ReadonlyArray<string>
  readonly labels: Readonly<Record<string, string>>
}

const program = fileURLToPath(new URL("service.mjs", import.meta.url))

export class Fleet {
  private readonly children = new Set<ChildProcess>()
  private readonly targets = new Map<string, Target>()
  private readonly agent = new Agent({ keepAlive: true })
  private readonly timers = new Set<NodeJS.Timeout>()

  /** `folder` gets the file of targets. */
  constructor(private readonly folder: string) {
    this.write()
  }

  get file(): string {
    return join(this.folder, "targets.json")
  }

  async start(job: string, instance: string, options: ServiceOptions = {}): Promise<Service> {
    const { execArgv = [], isTarget = true, labels = {}, memory, ...service } = options
    const group = memory === undefined ? undefined : memoryGroup(memory)
    const child = fork(program, [JSON.stringify(service)], {
      execArgv: [...execArgv],
      stdio: ["ignore", "ignore", "ignore", "ipc"]
    })
    this.children.add(child)
    if (child.pid !== undefined) group?.add(child.pid)
    const ended = new Promise<number>((resolve) => {
      child.once("exit", () => {
        this.children.delete(child)
        group?.remove()
        resolve(Date.now())
      })
    })
    const ports = await new Promise<Ports>((resolve, reject) => {
      child.once("message", (ready) => resolve(ready as Ports))
      child.once("exit", (code) => reject(new Error(`${job} ended with ${code} before it was ready`)))
    })
    const key = `${job} ${instance}`
    const target: Target = {
      targets: [`127.0.0.1:${ports.metrics}`],
      labels: { job, instance, ...labels, ...(service.tls && { __scheme__: "https" }) }
    }
    if (isTarget) this.set(key, target)
    return {
      instance,
      port: ports.metrics,
      break: (how) => this.send(ports.requests, "/break", JSON.stringify(how)),
      visit: ({ path = "/", rate, timeout }) => {
        const timer = setInterval(() => void this.send(ports.requests, path, undefined, timeout), 1e3 / rate)
        this.timers.add(timer)
        const stop = () => clearInterval(timer)
        void ended.then(stop)
        return stop
      },
      kill: async () => {
        child.kill("SIGKILL")
        await ended
      },
      forget: () => this.set(key, undefined),
      ended
    }
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer)
    const running = [...this.children]
    const ended = running.map((child) => new Promise((resolve) => child.once("exit", resolve)))
    for (const child of running) child.kill("SIGKILL")
    await Promise.all(ended)
    this.agent.destroy()
  }

  private set(key: string, target: Target | undefined): void {
    if (target === undefined) this.targets.delete(key)
    else this.targets.set(key, target)
    this.write()
  }

  // Prometheus reads the file when it changes, and must not read half of it.
  private write(): void {
    mkdirSync(this.folder, { recursive: true })
    writeFileSync(`${this.file}.new`, JSON.stringify([...this.targets.values()]))
    renameSync(`${this.file}.new`, this.file)
  }

  // What becomes of a request is in the metrics.
  private send(port: number, path: string, body?: string, timeout?: number): Promise<void> {
    return new Promise((resolve) => {
      const method = body === undefined ? "GET" : "POST"
      const sent = request({ host: "127.0.0.1", port, path, method, agent: this.agent }, (response) => {
        response.resume().once("close", resolve)
      })
      if (timeout !== undefined) setTimeout(() => sent.destroy(), timeout).unref()
      sent.once("error", () => resolve())
      sent.end(body)
    })
  }
}
