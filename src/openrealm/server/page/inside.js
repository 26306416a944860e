// @ts-check
// The view that looks inside: masks in a sentence, fillings, and how the candidates speak for them,
// also without retrieval and in two runs. Knows nothing of how a picture is drawn.

import { call, onlyLatest } from "./api.js";
import { stageChoice } from "./choosing.js";
import { knownState, runList, workspace } from "./context.js";
import { announce, focusOn, freshId, h, put } from "./dom.js";
import { fillPanel } from "./panel.js";
import { emptyState, errorNotice, noRunYet, setBusy, waitingIn } from "./parts.js";
import { currentRoute, go, href, note } from "./router.js";
import { drawWords, keptMasks, maskCount, MAX_MASKS, original, tellingWord, withMasks } from "./sentence.js";
import { firstSentence } from "./text.js";

const TOP = 20;

/** @typedef {{run: string, stage: string}} Weights */
/** @typedef {{text: string, masked: Set<number>, a: Weights, b: Weights | null, without: boolean, k: string, y: string, z: number, stretched: boolean}} Question */

/** @param {HTMLElement} main */
export function insideView(main) {
  const latest = onlyLatest();
  const listing = onlyLatest();
  const drawing = onlyLatest();
  const form = insideForm(ask, example);
  const results = h("div", { class: "results", "data-testid": "results" });
  put(
    main,
    h("h1", {}, "Look inside"),
    h(
      "p",
      { class: "lede" },
      "Mask a word and see what fills it, which chunks were retrieved, and how much each of them speaks for the filling.",
    ),
    form.element,
    results,
  );
  offerRuns();

  async function offerRuns() {
    try {
      const known = await runList(listing.next());
      form.offer(known.runs, known.default);
      if (!known.runs.length && !results.firstChild) put(results, noRunYet(workspace()));
    } catch {
      // the server's run answers; the request itself says what is wrong
    }
  }

  /** @param {Question} question */
  function ask(question) {
    go(linkTo(question));
  }

  async function example() {
    const signal = drawing.next();
    form.say("");
    try {
      const sentence = await randomSentence(signal);
      if (signal.aborted) return;
      if (sentence === null) return put(results, noDocuments());
      form.setSentence(sentence);
      announce(`Example: ${sentence}`);
    } catch (error) {
      if (!signal.aborted) put(results, errorNotice(error, example, workspace()));
    }
  }

  /** @param {import("./router.js").Route} route */
  async function show({ params }) {
    const question = questionOf(params);
    const signal = latest.next();
    form.set(question);
    if (!question.text || !maskCount(question.text, question.masked)) return put(results);
    form.busy(true);
    const tell = waitingIn(results);
    tell("Filling…");
    try {
      const found = await fillAll(question, signal, tell);
      if (signal.aborted) return;
      put(results, ...shown(question, found));
      focusOn(results.querySelector("h2"));
    } catch (error) {
      if (signal.aborted) return;
      put(results, errorNotice(error, () => show({ view: "inside", path: [], params }), workspace()));
    }
    form.busy(false);
  }

  return { show, leave: () => [latest, listing, drawing].forEach((each) => each.stop()) };
}

// The question and its link -------------------------------------------------------------------------

/** @param {URLSearchParams} params @returns {Question} */
function questionOf(params) {
  const get = (name) => params.get(name) ?? "";
  const numbers = get("mask").split(",").filter(Boolean).map(Number).filter(Number.isInteger);
  return {
    text: get("text"),
    masked: new Set(numbers),
    a: { run: get("run"), stage: get("stage") },
    b: params.has("compare") ? { run: get("run2"), stage: get("stage2") } : null,
    without: params.has("without"),
    k: get("k"),
    y: get("y"),
    z: Number(get("z")) || 0,
    stretched: params.has("stretched"),
  };
}

/** @param {Question} q */
function linkTo(q) {
  return href(["inside"], {
    text: q.text,
    mask: [...q.masked].sort((a, b) => a - b).join(","),
    ...q.a,
    compare: q.b && "1",
    run2: q.b?.run,
    stage2: q.b?.stage,
    without: q.without && "1",
    k: q.k,
    y: q.y,
    z: q.z || "",
    stretched: q.stretched && "1",
  });
}

/**
 * Asks for what is to be shown, the runs side by side and with or without retrieval.
 * @param {Question} question
 * @param {AbortSignal} signal
 * @param {(message: string) => void} onWait
 */
async function fillAll(question, signal, onWait) {
  const text = withMasks(question.text, question.masked, knownState()?.mask ?? "[MASK]");
  /** @param {Weights} weights @param {boolean} retrieval */
  // What the masks hide, and what is looked at: two runs are compared by the same words.
  const asked = [original(question.text, question.masked), question.y];
  const also = [...new Set(asked)].filter((words) => words && words.length <= 200);
  const fill = ({ run, stage }, retrieval) => {
    const body = {
      text, top: TOP, also, retrieval, run: run || null, stage: stage || null, k: Number(question.k) || null,
    };
    return call("fill", { body, signal, onWait });
  };
  const sides = question.b ? [question.a, question.b] : [question.a];
  return Promise.all(
    sides.map(async (weights) => {
      const [found, without] = await Promise.all([
        fill(weights, true),
        question.without ? fill(weights, false) : null,
      ]);
      return { found, without };
    }),
  );
}

// What is shown --------------------------------------------------------------------------------------

/** @param {Question} question @param {{found: any, without: any}[]} sides */
function shown(question, sides) {
  const looking = {
    y: question.y || sides[0].found.fillings[0]?.text || "",
    z: question.z || strongest(sides[0].found, question.y),
    stretched: question.stretched,
    original: original(question.text, question.masked),
  };
  /** @param {Partial<typeof looking>} change */
  const look = (change) => {
    Object.assign(looking, change);
    note(linkTo({ ...questionOf(currentRoute().params), y: looking.y, z: looking.z, stretched: looking.stretched }));
    for (const panel of panels) panel.update();
  };
  const names = sides.length > 1 ? ["A", "B"] : [""];
  const panels = sides.map(({ found, without }, n) => fillPanel(found, without, names[n], looking, look));
  const stretch = checkbox("Stretch the vertical axis", "stretched", (on) => look({ stretched: on }));
  stretch.input.checked = looking.stretched;
  return [
    h("h2", { class: "masked-sentence" }, sides[0].found.text),
    h("div", { class: "choices" }, stretch.element),
    h("div", { class: sides.length > 1 ? "panels two" : "panels" }, panels.map((panel) => panel.element)),
  ];
}

/** The candidate that speaks most for a filling. @param {any} found @param {string} y */
function strongest(found, y) {
  const filling = found.fillings.find((each) => each.text === y) ?? found.fillings[0];
  if (!filling) return 0;
  const shares = found.candidates.map(({ p_z }, n) => p_z * filling.p_y_given_z[n]);
  return shares.indexOf(Math.max(...shares));
}

/** @param {AbortSignal} signal @returns {Promise<string | null>} */
async function randomSentence(signal) {
  const { total } = await call("documents?limit=1", { signal });
  if (!total) return null;
  const offset = Math.floor(Math.random() * total);
  const { documents } = await call(`documents?limit=1&offset=${offset}`, { signal });
  const { text } = await call(`documents/${encodeURIComponent(documents[0].id)}?start=0&stop=2000`, { signal });
  return Array.from(firstSentence(text)).slice(0, 600).join("");
}

function noDocuments() {
  return emptyState("No documents yet", `Read some first: \`openrealm ingest my-documents --to ${workspace()}\``);
}

// The form -----------------------------------------------------------------------------------------

/** @param {string} label @param {string} testid @param {(on: boolean) => void} [onchange] */
function checkbox(label, testid, onchange) {
  const input = h("input", { type: "checkbox", "data-testid": testid, onchange: () => onchange?.(input.checked) });
  return { input, element: h("label", { class: "check" }, input, label) };
}

/**
 * @param {(question: Question) => void} ask
 * @param {() => void} example
 */
function insideForm(ask, example) {
  /** @type {Question} */
  let question = questionOf(new URLSearchParams());
  /** @type {{runs: import("./context.js").Run[], standard: string | null}} */
  let known = { runs: [], standard: null };
  /** @type {ReturnType<typeof stageChoice>[]} */
  let chosen = [];

  const sentence = h("textarea", {
    id: freshId("sentence"), rows: "2", maxlength: "4000", spellcheck: "false", oninput: edited, "data-testid": "sentence",
  });
  const words = h("p", { class: "words", role: "group", "aria-label": "Words; press one to mask it", "data-testid": "words" });
  const hint = h("p", { class: "hint", role: "status", "data-testid": "hint" });
  const weights = h("div", { class: "choices side" });
  const without = checkbox("Also without retrieval", "without");
  const compare = checkbox("Compare two runs or stages", "compare", () => offerWeights());
  const kId = freshId("k");
  const k = h("input", { id: kId, type: "number", min: "1", max: "32", placeholder: "run’s", "data-testid": "k" });
  const button = h("button", { type: "submit", class: "primary", "data-testid": "fill" }, "Fill");
  const element = h(
    "form",
    { class: "inside-form", onsubmit: submit, "aria-label": "Mask words of a sentence", novalidate: true },
    h("label", { for: sentence.id }, "Sentence"),
    h("div", { class: "sentence" }, sentence),
    h("p", { class: "under" }, h("button", { type: "button", class: "quiet", onclick: example, "data-testid": "example" }, "Example from the corpus")),
    words,
    hint,
    h(
      "div",
      { class: "choices" },
      weights,
      h("div", { class: "field small" }, h("label", { for: kId }, "Candidates"), k),
    ),
    h("div", { class: "buttons" }, button, without.element, compare.element),
  );

  function edited() {
    question.masked = keptMasks(question.text, sentence.value, question.masked);
    question.text = sentence.value;
    draw();
  }
  function draw() {
    drawWords(words, question.text, question.masked, toggle);
    words.hidden = !question.text.trim();
    say("");
  }
  /** @param {string} text */
  function say(text) {
    const masks = maskCount(question.text, question.masked);
    const standard = !question.text.trim() ? "" : masks ? "" : "Press a word to mask it.";
    hint.textContent = text || standard;
  }
  /** @param {number} word */
  function toggle(word) {
    const { masked } = question;
    const pressed = words.querySelector(`[data-word="${word}"]`);
    if (pressed?.getAttribute("aria-disabled") === "true") {
      return say(pressed.getAttribute("aria-pressed") === "true" ? "This mask was typed; edit the sentence to change it." : `At most ${MAX_MASKS} masks.`);
    }
    if (!masked.delete(word)) masked.add(word);
    draw();
    focusOn(words.querySelector(`[data-word="${word}"]`));
  }
  function offerWeights() {
    const { a, b } = values();
    const sides = compare.input.checked ? [a, b ?? earlier()] : [a];
    chosen = sides.map((side, n) => stageChoice(known.runs, known.standard, side, sides.length > 1 ? "AB"[n] : ""));
    put(weights, chosen.map((side) => h("div", { class: "side choices" }, side.elements)));
    weights.hidden = !known.runs.length;
  }
  /** For "before and after": the stage before joint training of the run that answers. @returns {Weights} */
  function earlier() {
    const { run } = values().a;
    const stages = known.runs.find((each) => each.name === (run || known.standard))?.stages ?? [];
    const joint = stages.indexOf("realm");
    return { run, stage: stages[Math.max(joint - 1, 0)] ?? "" };
  }
  function values() {
    return { a: chosen[0]?.value() ?? question.a, b: chosen[1]?.value() ?? question.b };
  }
  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    const masks = maskCount(question.text, question.masked);
    if (!question.text.trim()) return focusOn(sentence);
    if (!masks || masks > MAX_MASKS) {
      say(masks ? `At most ${MAX_MASKS} masks.` : "Mask a word first: press one above.");
      return focusOn(words.querySelector("button") ?? sentence);
    }
    const { a, b } = values();
    ask({ ...question, a, b: compare.input.checked ? b : null, without: without.input.checked, k: k.value, y: "", z: 0 });
  }

  return {
    element,
    say,
    /** @param {boolean} on */
    busy: (on) => setBusy(element, button, on),
    /** @param {Question} q */
    set(q) {
      question = { ...q, masked: new Set(q.masked) };
      sentence.value = q.text;
      without.input.checked = q.without;
      compare.input.checked = q.b !== null;
      k.value = q.k;
      chosen = [];
      offerWeights();
      draw();
    },
    /** @param {string} text */
    setSentence(text) {
      const telling = tellingWord(text);
      question = { ...question, text, masked: new Set(telling === null ? [] : [telling]) };
      sentence.value = text;
      draw();
    },
    /** @param {import("./context.js").Run[]} runs @param {string | null} standard */
    offer(runs, standard) {
      known = { runs, standard };
      chosen = [];
      offerWeights();
    },
  };
}
