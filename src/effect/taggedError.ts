/** `Data.TaggedError`, with a type that is the same for every version of Effect: the declarations contain it. */
import type { YieldableError } from "effect/Cause"
import * as Data from "effect/Data"

export type TaggedErrorClass<Tag extends string> = new <Fields extends object>(
  fields: { readonly [K in keyof Fields as K extends "_tag" ? never : K]: Fields[K] }
) => YieldableError & { readonly _tag: Tag } & Readonly<Fields>

export const TaggedError = <Tag extends string>(tag: Tag) => Data.TaggedError(tag) as TaggedErrorClass<Tag>
