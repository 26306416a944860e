// @ts-check
// Reads a run's metrics to their end and goes on while it trains, again after a break; knows nothing
// of what the records say.

import { call, followMetrics, pause } from "./api.js";

/**
 * @typedef {object} Listener
 * @property {(records: Record<string, any>[]) => void} add
 * @property {() => void} reset Forget all: the records follow from the beginning.
 * @property {(state: "reading" | "live" | "broken" | "ended") => void} say
 */

const FIRST_PAUSE_S = 1;
const LONGEST_PAUSE_S = 30;

/**
 * Reads until the training has ended, or is called off. Errors before the first record is read are
 * thrown, later ones mean another try.
 * @param {string} run
 * @param {Listener} listener
 * @param {AbortSignal} signal
 */
export async function readMetrics(run, listener, signal) {
  listener.say("reading");
  const read = await readWritten(run, listener, signal);
  let after = read.next;
  let pauseS = FIRST_PAUSE_S;
  for (let training = read.in_training; training; ) {
    try {
      for await (const { event, data } of followMetrics(run, after, signal)) {
        listener.say("live");
        pauseS = FIRST_PAUSE_S;
        if (event === "end") training = false;
        if (event === "reset") {
          after = 0;
          listener.reset();
        }
        if (event === "records") {
          after = data.next;
          listener.add(data.records);
        }
        if (!training) break;
      }
    } catch (error) {
      if (signal.aborted) return;
    }
    if (!training) break;
    listener.say("broken");
    await pause(pauseS, signal).catch(() => {});
    if (signal.aborted) return;
    pauseS = Math.min(2 * pauseS, LONGEST_PAUSE_S);
  }
  listener.say("ended");
}

/** What was written so far. @param {string} run @param {Listener} listener @param {AbortSignal} signal */
async function readWritten(run, listener, signal) {
  let after = 0;
  for (;;) {
    const page = await call(`runs/${encodeURIComponent(run)}/metrics?after=${after}`, { signal });
    if (page.reset) listener.reset();
    if (page.records.length) listener.add(page.records);
    if (!page.records.length || page.next === after) return page;
    after = page.next;
  }
}
