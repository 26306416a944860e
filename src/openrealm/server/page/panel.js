// @ts-check
// What one run says about a masked sentence: its fillings, the picture of one of them, the chosen
// candidate, and all numbers as a table. Knows nothing of the form or of another run beside it.

import { drawnToWidth, freshId, h, put } from "./dom.js";
import { probability, percent, signed, times } from "./numbers.js";
import {
  documentLink, figures, markedWords, sourceLine, table, titleOf, weighed,
} from "./parts.js";
import { shortened } from "./text.js";
import { axisTop, unitSquare } from "./unit_square.js";

/**
 * @typedef {object} Looking What is looked at; the same for two panels side by side.
 * @property {string} y The filling, by its text.
 * @property {number} z The candidate.
 * @property {boolean} stretched Whether the vertical axis is.
 * @property {string} original What the masks hide, if it is known.
 */

/**
 * @typedef {object} Panel
 * @property {HTMLElement} element
 * @property {() => void} update Shows what is looked at now.
 */

const SHOWN = 8;

/**
 * @param {any} found FillResponse
 * @param {any | null} without The same text with the null chunk alone, where it was asked for.
 * @param {string} name A, B or nothing.
 * @param {Looking} looking
 * @param {(change: Partial<Looking>) => void} look
 * @returns {Panel}
 */
export function fillPanel(found, without, name, looking, look) {
  const own = freshId("panel");
  const lists = [fillingsList(found, "With retrieval", `${own}-with`, looking, look)];
  if (without) lists.push(fillingsList(without, "Without retrieval", `${own}-without`, looking, look));
  const body = h("div", { class: "panel-body" });
  const element = h(
    "section",
    { class: "panel", "aria-labelledby": own, "data-testid": name ? `panel-${name.toLowerCase()}` : "panel" },
    h("h3", { id: own, class: name ? "" : "unseen" }, name || "Fillings"),
    sourceLine(found.source),
    h("div", { class: without ? "lists two" : "lists" }, lists.map((list) => list.element)),
    body,
  );
  const picture = pictureOf(body, found, name, looking, look);
  const update = () => {
    for (const list of lists) list.update();
    picture();
  };
  update();
  return { element, update };
}

// Fillings -----------------------------------------------------------------------------------------

/**
 * @param {any} found
 * @param {string} legend
 * @param {string} group
 * @param {Looking} looking
 * @param {(change: Partial<Looking>) => void} look
 */
function fillingsList(found, legend, group, looking, look) {
  const items = found.fillings.map((filling, n) => fillingItem(filling, n, group, looking, look));
  const more = h("button", { type: "button", class: "quiet", onclick: showAll }, `All ${items.length}`);
  const element = h(
    "fieldset",
    { class: "fillings", "data-testid": "fillings" },
    h("legend", {}, legend, h("span", { class: "unit" }, " p(y|x)")),
    h("div", {}, items.map((item) => item.element)),
    items.length > SHOWN && more,
  );
  function showAll() {
    for (const item of items) item.element.hidden = false;
    more.remove();
  }
  function update() {
    const at = found.fillings.findIndex((filling) => filling.text === looking.y);
    items.forEach((item, n) => {
      item.input.checked = n === at;
      if (n === at || n < SHOWN) item.element.hidden = false;
    });
  }
  return { element, update };
}

/**
 * @param {any} filling
 * @param {number} n
 * @param {string} group
 * @param {Looking} looking
 * @param {(change: Partial<Looking>) => void} look
 */
function fillingItem(filling, n, group, looking, look) {
  const input = h("input", {
    type: "radio", name: group, value: String(n), onchange: () => look({ y: filling.text }),
  });
  const isOriginal = filling.text.toLowerCase() === looking.original.toLowerCase();
  const element = h(
    "label",
    { class: "filling", "data-testid": "filling", hidden: n >= SHOWN && !isOriginal },
    input,
    h("span", { class: "filling-text" }, filling.text, isOriginal && h("span", { class: "tag" }, "original")),
    weighed(filling.p_y),
  );
  return { element, input };
}

// The picture and what belongs to it ----------------------------------------------------------------

/**
 * @param {HTMLElement} body
 * @param {any} found
 * @param {string} name
 * @param {Looking} looking
 * @param {(change: Partial<Looking>) => void} look
 * @returns {() => void}
 */
function pictureOf(body, found, name, looking, look) {
  const frame = h("div", { class: "square-frame" });
  const caption = h("figcaption", {});
  const buttons = found.candidates.map((candidate, n) => chip(candidate, n, look));
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Candidates" }, buttons);
  const detail = h("div", { class: "detail", "aria-live": "polite", "data-testid": "candidate" });
  const numbers = h("div", {});
  const filling = () => found.fillings.find((each) => each.text === looking.y);
  const redraw = drawnToWidth(frame, (width) => {
    const shown = filling();
    if (shown) put(frame, unitSquare(width, pictureData(found, shown, looking, look)));
  });
  const whole = h(
    "div",
    { class: "square-and-detail" },
    h("figure", {}, frame, caption, chips),
    detail,
  );
  return () => {
    const shown = filling();
    if (!shown) return put(body, missing(looking.y, found));
    if (!whole.isConnected || whole.parentNode !== body) put(body, whole, numbers);
    redraw();
    put(caption, summary(found, shown));
    const z = Math.min(looking.z, buttons.length - 1);
    buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(n === z)));
    put(detail, candidateDetail(found, shown, z));
    put(numbers, candidateTable(found, shown, name));
  };
}

/** @param {string} y @param {any} found */
function missing(y, found) {
  return h(
    "p",
    { class: "notice", "data-testid": "not-among" },
    `“${y}” is not among the ${found.fillings.length} most probable fillings here; choose one that is.`,
  );
}

/** @returns {import("./unit_square.js").Picture} @param {any} found @param {any} shown @param {Looking} looking @param {(change: Partial<Looking>) => void} look */
function pictureData(found, shown, looking, look) {
  return {
    columns: found.candidates.map(({ chunk, p_z }, n) => ({
      label: n === 0 ? "∅" : String(n),
      title: `${nameOf(chunk)}: p(z|x) ${probability(p_z)}, p(y|z,x) ${probability(shown.p_y_given_z[n])}`,
      isNull: chunk === null,
      pZ: p_z,
      pY: shown.p_y_given_z[n],
    })),
    marginal: shown.p_y,
    top: axisTop(shown.p_y_given_z, looking.stretched),
    chosen: Math.min(looking.z, found.candidates.length - 1),
    name: `Candidates as columns, as wide as p(z|x) and filled to p(y|z,x) of “${shown.text}”. ${summary(found, shown)} The table below has the numbers.`,
    choose: (z) => look({ z }),
  };
}

/** Who speaks for the filling, in a sentence. @param {any} found @param {any} shown */
function summary(found, shown) {
  const shares = found.candidates.map(({ p_z }, n) => p_z * shown.p_y_given_z[n]);
  const best = shares.indexOf(Math.max(...shares));
  const share = shown.p_y > 0 ? ` (${percent(shares[best] / shown.p_y)})` : "";
  return `The filled area is p(y|x) = ${probability(shown.p_y)}; the most of it, ${probability(shares[best])}${share}, is from ${
    best === 0 ? "the null chunk" : `chunk ${best}, ${nameOf(found.candidates[best].chunk)}`
  }.`;
}

/** @param {any} candidate @param {number} n @param {(change: Partial<Looking>) => void} look */
function chip({ chunk }, n, look) {
  return h(
    "button",
    {
      type: "button",
      class: chunk ? "chip" : "chip null",
      "data-testid": "column",
      "data-z": n,
      onclick: () => look({ z: n }),
    },
    h("span", { class: "chip-number" }, n === 0 ? "∅" : n),
    nameOf(chunk),
  );
}

/** @param {any} chunk */
function nameOf(chunk) {
  return chunk ? shortened(titleOf(chunk), 32) : "null chunk";
}

/** @param {any} found @param {any} shown @param {number} z */
function candidateDetail(found, shown, z) {
  const { chunk, p_z } = found.candidates[z];
  const pY = shown.p_y_given_z[z];
  return h(
    "div",
    {},
    h("h4", {}, z === 0 ? "∅ null chunk" : `${z} ${titleOf(chunk)}`),
    chunk
      ? markedWords(chunk, shown.text)
      : h("p", {}, "Nothing was retrieved: what the reader knows by itself."),
    chunk && h("p", { class: "meta" }, documentLink(chunk, { corpus: found.source.corpus })),
    figures([
      ["p(z|x)", probability(p_z)],
      ["p(y|z,x)", probability(pY)],
      ["product", probability(p_z * pY)],
      ["share of p(y|x)", shown.p_y > 0 ? percent((p_z * pY) / shown.p_y) : "–"],
    ]),
    z > 0 && utilityLine(shown.utility[z], shown.text),
  );
}

/** @param {number | null} utility @param {string} y */
function utilityLine(utility, y) {
  if (utility === null) {
    return h("p", { class: "utility" }, "The retrieval utility cannot be told: one of the two probabilities is 0.");
  }
  return h(
    "p",
    { class: "utility", "data-testid": "utility" },
    "Retrieval utility ",
    h("strong", { class: "number" }, `${signed(utility)} nats`),
    `: this chunk makes “${y}” ${times(utility)} times as likely as no chunk.`,
  );
}

/** @param {any} found @param {any} shown @param {string} name */
function candidateTable(found, shown, name) {
  const rows = found.candidates.map(({ chunk, p_z }, n) => [
    h("span", {}, h("span", { class: "chip-number" }, n === 0 ? "∅" : n), " ", chunk ? titleOf(chunk) : "null chunk"),
    probability(p_z),
    probability(shown.p_y_given_z[n]),
    probability(p_z * shown.p_y_given_z[n]),
    n === 0 ? "0" : shown.utility[n] === null ? "–" : signed(shown.utility[n]),
  ]);
  const sum = found.candidates.reduce((all, { p_z }) => all + p_z, 0);
  rows.push(["sum", probability(sum), "", probability(shown.p_y), ""]);
  return table(
    `All candidates for “${shown.text}”${name && `, run ${name}`}`,
    ["candidate", "p(z|x)", "p(y|z,x)", "product", "utility (nats)"],
    rows,
    { class: "numbers with-sum", "data-testid": "candidates" },
  );
}
