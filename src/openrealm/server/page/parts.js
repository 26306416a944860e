// @ts-check
// What several views show in the same way: notices, errors, commands, bars, chunks and links to
// their documents; knows no view.

import { ApiError } from "./api.js";
import { announce, h, put } from "./dom.js";
import { probability } from "./numbers.js";
import { href } from "./router.js";
import { around, splitAt } from "./text.js";

/** @typedef {{id: number, document_id: string, title: string, text: string, start: number, stop: number}} Chunk */

/** A sentence in which `code` stands between backticks. @param {string} text */
export function prose(text) {
  return text.split("`").map((piece, n) => (n % 2 ? h("code", {}, piece) : piece));
}

/** A message of the server as a sentence. @param {string} message */
export function sentence(message) {
  const begun = message.charAt(0).toUpperCase() + message.slice(1);
  return prose(/[.!?…]$/.test(begun) ? begun : `${begun}.`);
}

/** A command to type, with a button that copies it. @param {string} text */
export function command(text) {
  const button = h("button", { type: "button", class: "quiet", onclick: copy }, "Copy");
  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(code); // not over https: select it instead
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  }
  const code = h("code", {}, text);
  button.setAttribute("aria-label", `Copy the command ${text}`);
  return h("div", { class: "command", "data-testid": "command" }, code, button);
}

/**
 * What to do next where there is nothing to show.
 * @param {string} heading
 * @param {string} text
 * @param {...(Node | string | false)} more
 */
export function emptyState(heading, text, ...more) {
  return h(
    "section",
    { class: "empty", "data-testid": "empty" },
    h("h2", {}, heading),
    h("p", {}, prose(text)),
    ...more,
  );
}

/** What to do where nothing has been trained. @param {string} workspace */
export function noRunYet(workspace) {
  return emptyState(
    "No run yet",
    "Retriever and reader learn from the documents’ own text, without labels:",
    command(`openrealm pretrain ${workspace}`),
  );
}

/**
 * An error, with what can be done about it.
 * @param {any} error
 * @param {() => void} again
 * @param {string} [workspace]
 */
export function errorNotice(error, again, workspace = "WORKSPACE") {
  const known = error instanceof ApiError;
  const message = known ? error.message : `This page has failed: ${error?.message ?? error}`;
  const advice = known ? adviceFor(error, workspace) : null;
  return h(
    "div",
    { class: "notice bad", role: "alert", "data-testid": "error", "data-code": known ? error.code : "page" },
    h("p", {}, h("strong", {}, HEADINGS[known ? error.code : ""] ?? "That did not work."), " ", sentence(message)),
    advice,
    known &&
      error.code !== "invalid" &&
      h("p", {}, h("button", { type: "button", onclick: again, "data-testid": "retry" }, "Try again")),
  );
}

/** @type {Record<string, string>} */
const HEADINGS = {
  queue_full: "Too many are asking at once.",
  not_ready: "Not ready yet.",
  timeout: "That took too long.",
  invalid: "That cannot be asked.",
  too_large: "That is too long.",
  unauthorized: "An access token is needed.",
  not_found: "Not found.",
  corpus_changed: "The corpus has changed.",
  unreachable: "No answer from the server.",
};

/** @param {ApiError} error @param {string} workspace */
function adviceFor(error, workspace) {
  if (error.code === "queue_full" && error.retryAfterS) {
    return h("p", {}, `Try again in ${Math.ceil(error.retryAfterS)} s.`);
  }
  if (error.code === "unreachable") return command(`openrealm serve ${workspace}`);
  return null;
}

/** What is being waited for. @param {string} text */
export function waiting(text) {
  return h(
    "p",
    { class: "waiting", "data-testid": "waiting" },
    h("span", { class: "spinner", "aria-hidden": "true" }),
    h("span", {}, sentence(text)),
  );
}

/**
 * What says in an element, and to screen readers, what is being waited for.
 * @param {HTMLElement} element
 */
export function waitingIn(element) {
  /** @param {string} text */
  return (text) => {
    put(element, waiting(text));
    announce(text);
  };
}

/**
 * A probability as a bar; the number beside it says the same.
 * @param {number} p
 * @param {string} [kind] A class that says what it is a probability of.
 */
export function bar(p, kind = "") {
  return h("span", { class: `bar ${kind}`, "aria-hidden": "true", props: { "--p": p } }, h("span"));
}

/** A bar and its number. @param {number} p @param {string} [kind] */
export function weighed(p, kind = "") {
  return h(
    "span",
    { class: "weighed" },
    bar(p, kind),
    h("span", { class: "number" }, probability(p)),
  );
}

/**
 * A link that opens a document where something stands in it.
 * @param {Chunk} chunk
 * @param {{corpus: string, start?: number, stop?: number, text?: string}} place
 */
export function documentLink(chunk, { corpus, start = chunk.start, stop = chunk.stop, text = "Open in the document" }) {
  return h(
    "a",
    {
      href: href(["corpus", "document", chunk.document_id], { start, stop, corpus }),
      "aria-label": `${text}: ${chunk.title || chunk.document_id}`,
      "data-testid": "document-link",
    },
    text,
  );
}

/** Which weights answered. @param {import("./context.js").Source} source */
export function sourceLine(source) {
  return h(
    "p",
    { class: "meta", "data-testid": "answered-by" },
    source.run === null
      ? sentence(source.note)
      : `${source.run}, after ${source.stage} (step ${source.step}), generation ${source.generation}`,
  );
}

/** A chunk's title, or its document's id. @param {Chunk} chunk */
export function titleOf(chunk) {
  return chunk.title || chunk.document_id;
}

/** A chunk's text with a span of its document marked. @param {Chunk} chunk @param {number} start @param {number} stop */
export function markedSpan(chunk, start, stop) {
  const [before, inside, after] = around(chunk.text, start - chunk.start, stop - chunk.start);
  return h("p", { class: "corpus-text" }, before, h("mark", {}, inside), after);
}

/** A chunk's text with every place marked where words stand. @param {Chunk} chunk @param {string} words */
export function markedWords(chunk, words) {
  const pieces = splitAt(chunk.text, words);
  return h("p", { class: "corpus-text" }, pieces.map((piece, n) => (n % 2 ? h("mark", {}, piece) : piece)));
}

/**
 * A hit of a search.
 * @param {{rank: number, score: number, chunk: Chunk}} hit
 * @param {string} corpus
 */
export function hitItem({ rank, score, chunk }, corpus) {
  return h(
    "li",
    { class: "hit", "data-testid": "hit" },
    h("span", { class: "rank", "aria-hidden": "true" }, rank),
    h(
      "div",
      {},
      h("h3", { class: "title" }, titleOf(chunk)),
      h("p", { class: "corpus-text" }, chunk.text),
      h(
        "p",
        { class: "meta" },
        "score ",
        h("span", { class: "number" }, score.toFixed(2)),
        " · ",
        documentLink(chunk, { corpus }),
      ),
    ),
  );
}

/**
 * A definition list of figures.
 * @param {[string, Node | string | number][]} pairs
 */
export function figures(pairs) {
  return h(
    "dl",
    { class: "figures" },
    pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/**
 * A table in a box that scrolls by itself where the window is narrow.
 * @param {string} caption
 * @param {(Node | string)[]} head
 * @param {(Node | string)[][]} rows The first cell of each is its heading.
 * @param {Record<string, any>} [attributes]
 */
export function table(caption, head, rows, attributes = {}) {
  return h(
    "div",
    { class: "scrolls", tabindex: "0", role: "group", "aria-label": caption },
    h(
      "table",
      attributes,
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, cell)))),
      h(
        "tbody",
        {},
        rows.map(([first, ...cells]) =>
          h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell) => h("td", {}, cell))),
        ),
      ),
    ),
  );
}

/**
 * Marks a form as at work.
 * @param {HTMLElement} form
 * @param {HTMLElement} button
 * @param {boolean} busy
 */
export function setBusy(form, button, busy) {
  form.toggleAttribute("data-busy", busy);
  button.setAttribute("aria-busy", String(busy));
}
