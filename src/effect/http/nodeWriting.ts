/** Counts what is written of a response of Node.js. */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { HttpServerRequest } from "../../compat/http/platform.js"
import { sizeOf } from "../../core/http/node/messages.js"
import { type Method, observe, release, type Writing } from "../../core/http/node/responseMethods.js"

/** Undefined if the response is observed already, or is not made by a server of Node.js. */
export const nodeWriting = (request: HttpServerRequest, response: ServerResponse): NodeWriting | undefined => {
  const writing = new NodeWriting(response)
  return observe(request.source as IncomingMessage, writing) ? writing : undefined
}

export class NodeWriting implements Writing {
  /** Undefined if it is not known. */
  bytes: number | undefined
  // How many runs read them.
  private readers = 0
  // `end` may call `write`.
  private isEnding = false

  constructor(readonly response: ServerResponse) {}

  ends(end: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown {
    this.add(args)
    const wasEnding = this.isEnding
    this.isEnding = true
    try {
      return Reflect.apply(end, response, args)
    } finally {
      this.isEnding = wasEnding
    }
  }

  writes(write: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown {
    this.add(args)
    return Reflect.apply(write, response, args)
  }

  writesHead(writeHead: Method, response: ServerResponse, args: ReadonlyArray<unknown>): unknown {
    return Reflect.apply(writeHead, response, args)
  }

  begin(): void {
    this.readers += 1
  }

  /** When all who have begun have ended, nothing is counted any more. */
  end(): void {
    this.readers -= 1
    if (this.readers === 0) release(this.response.req, this)
  }

  private add([chunk, encoding]: ReadonlyArray<unknown>): void {
    if (!this.isEnding && !this.response.writableEnded) this.bytes = (this.bytes ?? 0) + sizeOf(chunk, encoding)
  }
}
