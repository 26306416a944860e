// @ts-check
// The fields in which a run and a stage are chosen; knows nothing of what is asked of them.

import { freshId, h, put } from "./dom.js";

/** @typedef {import("./context.js").Run} Run */

/** @type {Record<string, string>} */
export const STAGES = {
  start: "start (untrained)",
  mlm: "mlm (no retrieval)",
  ict: "ict (warm start)",
  warmup: "warmup (reader warm-up)",
  realm: "realm (joint training)",
  reading: "reading (spans that recur)",
  qa: "qa (fine-tuning)",
};

/**
 * A labelled select.
 * @param {string} label
 * @param {[string, string][]} options Value and text.
 * @param {string} chosen
 * @param {string} testid
 */
export function select(label, options, chosen, testid) {
  const id = freshId("select");
  const field = h("select", { id, "data-testid": testid });
  setOptions(field, options, chosen);
  return { field, element: h("div", { class: "field" }, h("label", { for: id }, label), field) };
}

/**
 * @param {HTMLSelectElement} field
 * @param {[string, string][]} options
 * @param {string} chosen
 */
function setOptions(field, options, chosen) {
  const known = options.some(([value]) => value === chosen);
  /** @type {[string, string][]} */
  const all = known ? options : [...options, [chosen, chosen]];
  put(field, all.map(([value, text]) => h("option", { value }, text)));
  field.value = chosen;
}

/**
 * The choice of a run among those that can be read.
 * @param {Run[]} runs
 * @param {string | null} standard The run that answers when none is chosen.
 * @param {string} chosen
 * @param {{label?: string, testid?: string}} [options]
 */
export function runChoice(runs, standard, chosen, { label = "Run", testid = "run" } = {}) {
  const usable = runs.filter((run) => !run.problem && run.stages.length);
  /** @type {[string, string][]} */
  const options = usable.map((run) => [run.name, nameOf(run)]);
  return select(label, [["", standard ? `${standard} (default)` : "default"], ...options], chosen, testid);
}

/** @param {Run} run */
function nameOf(run) {
  const notes = [];
  if (run.in_training) notes.push("in training");
  if (!run.fits_corpus) notes.push("another corpus");
  return notes.length ? `${run.name} (${notes.join(", ")})` : run.name;
}

/**
 * The choice of a run and of a stage of it.
 * @param {Run[]} runs
 * @param {string | null} standard The run that answers when none is chosen.
 * @param {{run: string, stage: string}} chosen
 * @param {string} name A or B, or nothing where there is one choice only.
 */
export function stageChoice(runs, standard, chosen, name) {
  const mark = name ? ` ${name}` : "";
  const testid = name ? `-${name.toLowerCase()}` : "";
  const run = runChoice(runs, standard, chosen.run, { label: `Run${mark}`, testid: `run${testid}` });
  const stage = select(`After stage${mark}`, [], "", `stage${testid}`);
  /** @param {string} wanted */
  function offerStages(wanted) {
    const of = runs.find((r) => r.name === (run.field.value || standard));
    const stages = of?.stages ?? [];
    /** @type {[string, string][]} */
    const options = stages.map((s) => [s, STAGES[s] ?? s]);
    setOptions(stage.field, [["", "the last that fits"], ...options], stages.includes(wanted) ? wanted : "");
  }
  offerStages(chosen.stage);
  run.field.addEventListener("change", () => offerStages(stage.field.value));
  return {
    elements: [run.element, stage.element],
    value: () => ({ run: run.field.value, stage: stage.field.value }),
  };
}
