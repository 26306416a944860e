// @ts-check
// The view that answers a question with evidence, or with search results where the run has not been
// fine-tuned; knows nothing of pictures and charts.

import { call, onlyLatest } from "./api.js";
import { runChoice } from "./choosing.js";
import { runList, workspace } from "./context.js";
import { focusOn, freshId, h, put } from "./dom.js";
import { counted, probability } from "./numbers.js";
import {
  command, documentLink, errorNotice, hitItem, markedSpan, noRunYet, prose, setBusy, sourceLine, titleOf, waitingIn, weighed,
} from "./parts.js";
import { go, href } from "./router.js";

/** @typedef {import("./router.js").Route} Route */

/** @param {HTMLElement} main */
export function askView(main) {
  const latest = onlyLatest();
  const runs = onlyLatest();
  const input = h("input", {
    id: freshId("question"), type: "text", maxlength: "4000", autocomplete: "off", enterkeyhint: "search",
    "data-testid": "question",
  });
  const button = h("button", { type: "submit", class: "primary", "data-testid": "ask" }, "Ask");
  const choices = h("div", { class: "choices" });
  const form = h(
    "form",
    { class: "ask-form", onsubmit: submit, role: "search", "aria-label": "Ask a question" },
    h("label", { for: input.id }, "Question"),
    h("div", { class: "one-line" }, input, button),
    choices,
  );
  const results = h("div", { class: "results", "data-testid": "results" });
  put(
    main,
    h("h1", {}, "Ask"),
    h("p", { class: "lede" }, "A question to the documents. Every answer comes with the place where it stands."),
    form,
    results,
  );

  let run = "";
  let field = { value: "" };
  offerRuns();

  async function offerRuns() {
    try {
      const known = await runList(runs.next());
      if (!known.runs.length && !results.firstChild) put(results, noRunYet(workspace()));
      if (known.runs.length < 2) return;
      const choice = runChoice(known.runs, known.default, run);
      field = choice.field;
      put(choices, choice.element);
    } catch {
      // without the list the server's run answers; the request itself says what is wrong
    }
  }

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    const q = input.value.trim();
    if (q) go(href(["ask"], { q, run: field.value }));
    else focusOn(input);
  }

  /** @param {Route} route */
  async function show({ params }) {
    const question = params.get("q") ?? "";
    run = params.get("run") ?? "";
    input.value = question;
    field.value = run;
    const signal = latest.next();
    if (!question) return put(results);
    setBusy(form, button, true);
    const tell = waitingIn(results);
    tell("Asking…");
    try {
      const body = { question, run: run || null };
      const found = await call("ask", { body, signal, onWait: tell });
      if (signal.aborted) return;
      put(results, ...answered(found));
      focusOn(results.querySelector("h2"));
    } catch (error) {
      if (signal.aborted) return;
      put(results, errorNotice(error, () => show({ view: "ask", path: [], params }), workspace()));
    }
    setBusy(form, button, false);
  }

  return { show, leave: () => (latest.stop(), runs.stop()) };
}

/** @param {any} found AskResponse */
function answered(found) {
  return found.has_reader ? withAnswers(found) : withHits(found);
}

// Answers ------------------------------------------------------------------------------------------

/** @param {any} found */
function withAnswers(found) {
  const lines = found.answers.map((answer) => ({ p: answer.probability, make: (n) => answerItem(answer, n, found) }));
  if (found.no_answer !== null) lines.push({ p: found.no_answer, make: (n) => noAnswerItem(found.no_answer, n) });
  lines.sort((a, b) => b.p - a.p);
  const rest = 1 - lines.reduce((sum, line) => sum + line.p, 0);
  return [
    h("h2", {}, found.is_answered ? "Answers" : "Nothing here answers this"),
    sourceLine(found.source),
    !found.is_answered && found.answers.length > 0 && h("p", { class: "meta" }, "The likeliest spans all the same:"),
    h("ol", { class: "answers", "data-testid": "answers" }, lines.map((line, n) => line.make(n + 1))),
    rest >= 0.0005 && h("p", { class: "meta" }, "Answers that are not shown: ", h("span", { class: "number" }, probability(rest)), " together."),
    chunksRead(found),
  ];
}

/** @param {any} answer @param {number} rank @param {any} found */
function answerItem(answer, rank, found) {
  const [best, ...others] = answer.evidence;
  return h(
    "li",
    { class: "answer", "data-testid": "answer" },
    h("span", { class: "rank", "aria-hidden": "true" }, rank),
    h(
      "div",
      {},
      h("div", { class: "answer-line" }, h("h3", {}, answer.text), weighed(answer.probability)),
      best && evidence(best, found.source.corpus),
      others.length > 0 &&
        h(
          "details",
          {},
          h("summary", {}, counted(answer.num_places - 1, "further place", "further places")),
          others.map((place) => evidence(place, found.source.corpus)),
          answer.num_places > 1 + others.length &&
            h("p", { class: "meta" }, `The best ${others.length} of them are shown.`),
        ),
    ),
  );
}

/** @param {number} p @param {number} rank */
function noAnswerItem(p, rank) {
  return h(
    "li",
    { class: "answer none", "data-testid": "no-answer" },
    h("span", { class: "rank", "aria-hidden": "true" }, rank),
    h(
      "div",
      {},
      h("div", { class: "answer-line" }, h("h3", {}, "no answer"), weighed(p, "null")),
      h("p", { class: "meta" }, "That none of the chunks read holds an answer."),
    ),
  );
}

/** @param {any} place @param {string} corpus */
function evidence(place, corpus) {
  const { chunk, start, stop } = place;
  return h(
    "blockquote",
    { class: "evidence", "data-testid": "evidence" },
    markedSpan(chunk, start, stop),
    h(
      "footer",
      { class: "meta" },
      h("cite", {}, titleOf(chunk)),
      " · ",
      h("span", { class: "number" }, probability(place.probability)),
      " · ",
      documentLink(chunk, { corpus, start, stop }),
    ),
  );
}

/** @param {any} found */
function chunksRead(found) {
  const read = found.read.filter((candidate) => candidate.chunk);
  const withNull = read.length < found.read.length ? ", and the null chunk" : "";
  return h(
    "section",
    { class: "chunks-read" },
    h("h2", {}, "Chunks read"),
    h("p", { class: "meta" }, `The ${counted(read.length, "chunk")} that were read for the question${withNull}, with p(z|x).`),
    h(
      "ul",
      { class: "read", "data-testid": "chunks-read" },
      found.read.map(({ chunk, p_z }) =>
        h(
          "li",
          {},
          weighed(p_z, chunk ? "" : "null"),
          chunk
            ? h(
                "details",
                {},
                h("summary", {}, titleOf(chunk)),
                h("p", { class: "corpus-text" }, chunk.text),
                h("p", { class: "meta" }, documentLink(chunk, { corpus: found.source.corpus })),
              )
            : h("span", { class: "meta" }, "null chunk"),
        ),
      ),
    ),
  );
}

const UNTRAINED = "Nothing has been trained yet, so these are the chunks that the start finds, not answers. First a run learns from the text, then from questions and answers:";

// Search results -------------------------------------------------------------------------------------

/** @param {any} found */
function withHits(found) {
  return [
    h("h2", {}, "Search results"),
    sourceLine(found.source),
    h(
      "div",
      { class: "notice", "data-testid": "no-reader" },
      h("p", {}, prose(found.source.run === null ? UNTRAINED : `Run \`${found.source.run}\` has not been fine-tuned for questions, so these are the chunks that retrieval finds, not answers. With questions and answers as JSON lines it learns to answer:`)),
      command(found.source.run === null ? `openrealm pretrain ${workspace()}` : `openrealm finetune ${workspace()} --qa FILE`),
    ),
    found.hits.length
      ? h("ol", { class: "hits", "data-testid": "hits" }, found.hits.map((hit) => hitItem(hit, found.source.corpus)))
      : h("p", {}, "Nothing was found."),
  ];
}
