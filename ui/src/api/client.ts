/** Requests to the service that this page comes from. */

import { signal } from "@preact/signals";

/** An error that the service or the datasource answered with. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly detail: readonly ErrorDetail[] = [],
  ) {
    super(message);
  }
}

/** Which part of a request is wrong, and why. */
export interface ErrorDetail {
  readonly loc: readonly (string | number)[];
  readonly msg: string;
}

/** The service did not answer at all. */
export class UnreachableError extends Error {
  constructor() {
    super("The service does not answer.");
  }
}

/** Whether the service answered the last request. */
export const isReachable = signal(true);

/** When a request last failed; what was asked before says nothing about the time since. */
let failedAtMs = -Infinity;

const WATCH_EVERY_MS = 3000;
let isWatching = false;

/** The service is one level above the page, whatever the prefix. */
export function serviceUrl(path: string): string {
  return new URL(`../${path}`, document.baseURI.replace(/[#?].*$/, "")).href;
}

export type Arguments = Readonly<Record<string, string | undefined>>;

export interface Options {
  readonly signal?: AbortSignal;
}

export function getJson<T>(path: string, args: Arguments = {}, options: Options = {}): Promise<T> {
  return request("GET", pathWith(path, args), undefined, options).then((answer) => answer.json());
}

export function getText(path: string, args: Arguments = {}, options: Options = {}): Promise<string> {
  return request("GET", pathWith(path, args), undefined, options).then((answer) => answer.text());
}

export function postJson<T>(path: string, body: unknown, options: Options = {}): Promise<T> {
  return request("POST", path, JSON.stringify(body), options).then((answer) => answer.json());
}

export function postYaml<T>(path: string, body: string): Promise<T> {
  return request("POST", path, body, {}, "application/yaml").then((answer) => answer.json());
}

export function sendDelete(path: string): Promise<unknown> {
  // Also while the page is being left.
  return request("DELETE", path, undefined, { keepalive: true }).then((answer) => answer.json());
}

function pathWith(path: string, args: Arguments): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(args)) {
    if (value !== undefined && value !== "") params.set(name, value);
  }
  const query = params.toString();
  return query === "" ? path : `${path}?${query}`;
}

async function request(
  method: string,
  path: string,
  body: string | undefined,
  options: Options & { keepalive?: boolean },
  type = "application/json",
): Promise<Response> {
  let answer: Response;
  const startedMs = performance.now();
  try {
    answer = await fetch(serviceUrl(path), {
      method,
      ...options,
      ...(body === undefined ? {} : { body, headers: { "Content-Type": type } }),
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    failedAtMs = performance.now();
    isReachable.value = false;
    void watch();
    throw new UnreachableError();
  }
  if (startedMs > failedAtMs) isReachable.value = true;
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

async function errorOf(answer: Response): Promise<ApiError> {
  const text = await answer.text();
  try {
    const content = JSON.parse(text) as { error?: string; detail?: ErrorDetail[] };
    if (typeof content.error === "string") {
      return new ApiError(answer.status, content.error, content.detail ?? []);
    }
  } catch {
    // From a proxy in between, which answers with a page.
  }
  return new ApiError(answer.status, `The server answered with the status ${answer.status}.`);
}

async function watch(): Promise<void> {
  if (isWatching) return;
  isWatching = true;
  while (!isReachable.value) {
    await new Promise((resolve) => setTimeout(resolve, WATCH_EVERY_MS));
    try {
      await fetch(serviceUrl("health"));
      isReachable.value = true;
    } catch {
      // Not yet.
    }
  }
  isWatching = false;
}

/** Return what a person should read about an error. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}
