/** The modules that handlers need for responses, loaded together when the first handler is created. */

export { checkDirectReads } from "../client/directReadCheck.js"
export { formats } from "../exposition/formats.js"
export { negotiate } from "../exposition/negotiation.js"
export { textOf } from "../exposition/writer.js"
export { listener } from "./nodeListener.js"
export { newEndpoint, renderOnce } from "./scrape.js"
export { respondUntil, webHandler } from "./webHandler.js"
