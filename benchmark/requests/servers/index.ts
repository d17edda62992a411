/** The servers of the row `http-requests`. Each is loaded in a process of its own. */
import type { Contenders } from "../contender.js"

export const servers = {
  effect: async () => (await import("./effect.js")).effect,
  web: async () => (await import("./effect.js")).web,
  express: async () => (await import("./express.js")).expressServers,
  fastify: async () => (await import("./fastify.js")).fastify,
  koa: async () => (await import("./koa.js")).koa,
  hono: async () => (await import("./hono.js")).hono,
  node: async () => (await import("./node.js")).node
} satisfies { readonly [name: string]: () => Promise<Contenders> }

export type ServerName = keyof typeof servers
