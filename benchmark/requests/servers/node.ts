import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { httpMetrics } from "effect-prometheus/Promises"
import { host } from "../../load.js"
import { type HandMetrics, handMetrics } from "../byHand.js"
import type { Contenders, Running, Start } from "../contender.js"
import type { Size } from "../exchanges.js"

type Listener = (request: IncomingMessage, response: ServerResponse) => void

/** Listens on a free port. */
export const listening = async (listener: Listener): Promise<Running> => {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return { port: (server.address() as AddressInfo).port }
}

/** Records a request by hand when its response is closed. Its size is counted where the response is written. */
export const measureByHand = (
  metrics: HandMetrics,
  request: IncomingMessage,
  response: ServerResponse,
  route: () => string
): void => {
  const method = request.method ?? ""
  const start = metrics.begin(method)
  let responseBytes = 0
  const { end, write } = response
  const count = (chunk: unknown) => {
    if (typeof chunk === "string") responseBytes += Buffer.byteLength(chunk)
    else if (chunk instanceof Uint8Array) responseBytes += chunk.byteLength
  }
  response.write = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
    count(args[0])
    return Reflect.apply(write, this, args)
  }
  response.end = function (this: ServerResponse, ...args: ReadonlyArray<unknown>) {
    count(args[0])
    return Reflect.apply(end, this, args)
  }
  response.once("close", () => {
    const requestBytes = Number(request.headers["content-length"] ?? 0)
    metrics.end({ method, route: route(), status: response.statusCode, start, requestBytes, responseBytes })
  })
}

const routing = (size: Size): ((url: string) => string) => {
  const known = new Map(Array.from({ length: size.routes }, (_, at) => [`things${at}`, `/things${at}/:status`]))
  return (url) => known.get(url.slice(1, url.indexOf("/", 1))) ?? "none"
}

const answer: Listener = (request, response) => {
  const { url = "" } = request
  response.writeHead(Number(url.slice(url.indexOf("/", 1) + 1)), { "content-type": "text/plain", "content-length": 2 })
  response.end("ok")
}

type Measuring = (request: IncomingMessage, response: ServerResponse, route: () => string) => void

const server =
  (measuring: () => Measuring): Start =>
  (size) => {
    const routeOf = routing(size)
    const measure = measuring()
    return listening((request, response) => {
      measure(request, response, () => routeOf(request.url ?? ""))
      answer(request, response)
    })
  }

export const node: Contenders = {
  bare: (size) => {
    const routeOf = routing(size)
    return listening((request, response) => {
      routeOf(request.url ?? "")
      answer(request, response)
    })
  },
  byHand: server(() => {
    const metrics = handMetrics()
    return (request, response, route) => measureByHand(metrics, request, response, route)
  }),
  ours: server(() => httpMetrics({ sizes: true }))
}
