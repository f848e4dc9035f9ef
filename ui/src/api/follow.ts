/** Following a task until it ends. */

import type { TaskProgress } from "./service";

const FIRST_POLL_MS = 150;
const SLOWEST_POLL_MS = 1000;

/** Ask for a task, first often and then each second, until it no longer runs; return it then. */
export async function followTask<T extends TaskProgress>(
  ask: () => Promise<T>,
  onProgress: (task: T) => void,
  signal: AbortSignal,
): Promise<T> {
  for (let wait = FIRST_POLL_MS; ; wait = Math.min(wait * 1.3, SLOWEST_POLL_MS)) {
    const task = await ask();
    if (task.status !== "running") return task;
    onProgress(task);
    await new Promise((resolve) => setTimeout(resolve, wait));
    signal.throwIfAborted();
  }
}
