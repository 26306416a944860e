// @ts-check
// What all views need to know of the server: its state and its runs, asked for once and kept
// fresh; knows no view.

import { call } from "./api.js";

/** @typedef {{run: string | null, stage: string, step: number, generation: number, corpus: string, note: string}} Source */
/** @typedef {{version: string, workspace: string, ready: boolean, reason: string | null, source: Source | null, has_reader: boolean, mask: string}} State */
/** @typedef {{name: string, created: number, start: string, saw_labels: string | null, seed: number, stages: string[], has_reader: boolean, in_training: boolean, fits_corpus: boolean, reports: Record<string, any>[], events: string[], problem: string | null}} Run */
/** @typedef {{default: string | null, runs: Run[]}} RunList */

/** @type {State | null} */
let state = null;

/** What the server last said of itself. */
export function knownState() {
  return state;
}

/** The workspace's name, for commands to type. */
export function workspace() {
  return shellWord(state?.workspace ?? "WORKSPACE");
}

/** What a shell reads as this one word. @param {string} text */
export function shellWord(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** Asks the server what it is. @param {boolean} quiet Without asking for a token. @returns {Promise<State>} */
export async function freshState(quiet) {
  state = await call("state", { quiet });
  return /** @type {State} */ (state);
}

/** The runs of the workspace. @param {AbortSignal} [signal] @returns {Promise<RunList>} */
export function runList(signal) {
  return call("runs", { signal });
}
