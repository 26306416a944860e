// @ts-check
// Speaks with the server's API: errors in one shape, the access token, waiting while a run is being
// loaded, the stream of metrics; knows nothing of what is shown.

import { askForToken, forgetToken, storedToken } from "./token.js";

/** What went wrong, in a sentence for people and a code for programs. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   * @param {{field?: string | null, retryAfterS?: number}} [more]
   */
  constructor(status, code, message, { field = null, retryAfterS = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.field = field;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * @typedef {object} CallOptions
 * @property {object} [body] Sent as JSON with POST.
 * @property {AbortSignal} [signal]
 * @property {(message: string) => void} [onWait] Told while a run is being loaded.
 * @property {boolean} [quiet] Ask for no token, unless it is being asked for already.
 */

/**
 * Calls the API and returns what it answers.
 * @param {string} path
 * @param {CallOptions} [options]
 * @returns {Promise<any>}
 */
export async function call(path, options = {}) {
  return (await request(path, options)).json();
}

/**
 * A response without an error: asks for the token where one is needed, waits for a run to load.
 * @param {string} path
 * @param {CallOptions} options
 */
async function request(path, { body, signal, onWait, quiet = false }) {
  for (;;) {
    const token = storedToken();
    const response = await sent(path, { body, signal, token });
    if (response.ok) return response;
    const error = await errorOf(response);
    if (error.code === "unauthorized") {
      forgetToken(token);
      if (await askForToken(token !== null, quiet)) continue;
    }
    if (error.code !== "loading") throw error;
    onWait?.(error.message);
    await pause(error.retryAfterS || 2, signal);
  }
}

/** @param {string} path @param {{body?: object, signal?: AbortSignal, token: string | null}} options */
async function sent(path, { body, signal, token }) {
  /** @type {Record<string, string>} */
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  try {
    return await fetch(`/api/${path}`, {
      method: body ? "POST" : "GET",
      body: body && JSON.stringify(body),
      headers,
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(
      0,
      "unreachable",
      "The server cannot be reached; see whether `openrealm serve` is still running.",
    );
  }
}

/** @param {Response} response */
async function errorOf(response) {
  const retryAfterS = Number(response.headers.get("Retry-After")) || 0;
  try {
    const { code, message, field } = (await response.json()).error;
    return new ApiError(response.status, code, message, { field, retryAfterS });
  } catch {
    return new ApiError(response.status, "unknown", `The server answered ${response.status}.`);
  }
}

/**
 * Waits, unless it is called off.
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * Gives a signal for the newest of several calls, and calls off the one before.
 * @returns {{next: () => AbortSignal, stop: () => void}}
 */
export function onlyLatest() {
  let controller = new AbortController();
  const stop = () => controller.abort();
  return {
    stop,
    next() {
      stop();
      controller = new AbortController();
      return controller.signal;
    },
  };
}

/**
 * Events of a run's metrics as they are written. Not an EventSource, which cannot send the token.
 * @param {string} run
 * @param {number} after Bytes that are known already.
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{event: string, data: any}>}
 */
export async function* followMetrics(run, after, signal) {
  const path = `runs/${encodeURIComponent(run)}/metrics?follow=true&after=${after}`;
  const response = await request(path, { signal });
  if (!response.body) return;
  yield { event: "open", data: null }; // the next record may be minutes away
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop() ?? "";
    yield* blocks.map(eventOf).filter((event) => event !== null);
  }
}

/** @param {string} block @returns {{event: string, data: any} | null} */
function eventOf(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).trim());
  }
  if (!data.length && event === "message") return null; // a heartbeat
  return { event, data: data.length && data.join("") ? JSON.parse(data.join("\n")) : null };
}
