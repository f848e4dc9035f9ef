/** Specs without what a class does by itself. */

import type { ModelSpec } from "../model/spec";
import { schemaOf } from "../model/schema";
import { draftOf, specOf } from "./draft";
import { fieldsOf } from "./fields";

/** Leave out the keys of a normalized spec that have their defaults, which would only make the address longer. */
export async function withoutDefaults(full: ModelSpec): Promise<ModelSpec> {
  const fields = fieldsOf(await schemaOf(full.class));
  return specOf(fields, draftOf(fields, full), full).spec;
}
