/** Names that the datasource was asked for, kept for a minute. */

import { datasourceFields } from "../state/server";

const KEPT_MS = 60_000;
/** Every prefix that is typed may be a request of its own. */
const MOST_KEPT = 200;

const kept = new Map<string, { readonly atMs: number; readonly answer: Promise<string[]> }>();

/** Return what the request finds, or found before for the same datasource. */
export function keptNames(what: string, request: () => Promise<string[]>): Promise<string[]> {
  const key = `${JSON.stringify(datasourceFields.value)} ${what}`;
  const before = kept.get(key);
  if (before !== undefined && Date.now() - before.atMs < KEPT_MS) return before.answer;
  // Completion is a help only: without the datasource there are no names.
  const answer = request().catch(() => []);
  kept.delete(key);
  kept.set(key, { atMs: Date.now(), answer });
  if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value!);
  return answer;
}
