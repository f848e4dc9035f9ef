/** Schemas of classes, asked for once each. */

import { getModelSchema, type ModelSchema } from "../api/service";

const asked = new Map<string, Promise<ModelSchema>>();

export function schemaOf(name: string): Promise<ModelSchema> {
  let answer = asked.get(name);
  if (answer === undefined) {
    answer = getModelSchema(name);
    asked.set(name, answer);
    // A failure may be gone the next time.
    answer.catch(() => asked.delete(name));
  }
  return answer;
}

/** Whether a class learns with every point; what cannot be told counts as such. */
export async function isOnline(name: string): Promise<boolean> {
  try {
    return (await schemaOf(name))["x-online"];
  } catch {
    return true;
  }
}
