/** Requests as a server reads them: of one that is not answered, and of bodies, nothing is kept. */
import { IncomingMessage } from "node:http"

/**
 * A request whose body is dropped as it comes, however many pieces it has. Node.js reads up to 64 KiB of a connection at
 * once, which can be thousands of requests, and makes all of them in one turn of the event loop, also after their
 * connection has been closed. It stops at one that is for another protocol: any request of a closed connection is.
 */
export class Incoming extends IncomingMessage {
  private isUpgrade: unknown

  get upgrade(): boolean {
    // Other runtimes make requests without a socket.
    return Boolean(this.isUpgrade) || this.socket?.destroyed === true
  }

  set upgrade(is: unknown) {
    this.isUpgrade = is
  }

  override push(chunk: unknown): boolean {
    return chunk === null ? super.push(null) : true
  }
}
