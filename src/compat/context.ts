/** How a tag is declared. */
export { Tag } from "effect/Context"
