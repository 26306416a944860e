// @ts-check
// One document: its text in parts, with the boundaries of its chunks and a marked place. Knows no
// search. Offsets are code points, as the API counts them.

import { ApiError, call, onlyLatest } from "./api.js";
import { workspace } from "./context.js";
import { focusOn, h, put } from "./dom.js";
import { count, counted } from "./numbers.js";
import { errorNotice, waiting } from "./parts.js";
import { go, href } from "./router.js";

const PART = 40_000;
const BEFORE = 4_000;

/** @typedef {{start: number, stop: number} | null} Span */

/** @param {HTMLElement} main */
export function documentView(main) {
  const latest = onlyLatest();

  /** @param {import("./router.js").Route} route */
  async function show({ path, params }) {
    const id = path.slice(1).join("/");
    const corpus = params.get("corpus");
    const span = spanOf(params);
    const signal = latest.next();
    put(main, back(), waiting("Reading the document…"));
    try {
      const start = Math.max((span?.start ?? 0) - BEFORE, 0);
      const part = await readPart(id, corpus, start, signal);
      if (signal.aborted) return;
      put(main, back(), ...drawn(id, part, span, signal));
      showPlace(main);
    } catch (error) {
      if (signal.aborted) return;
      put(main, back(), h("h1", {}, "Document"), failed(error, () => show({ view: "corpus", path, params }), id, span));
      focusOn(main.querySelector("h1"));
    }
  }

  return { show, leave: latest.stop };
}

function back() {
  return h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/corpus" }, "← Corpus"));
}

/** @param {URLSearchParams} params @returns {Span} */
function spanOf(params) {
  const [start, stop] = [Number(params.get("start")), Number(params.get("stop"))];
  return stop > start && start >= 0 ? { start, stop } : null;
}

/** @param {string} id @param {string | null} corpus @param {number} start @param {AbortSignal} signal @param {number} [stop] */
function readPart(id, corpus, start, signal, stop = start + PART) {
  const query = new URLSearchParams({ start: String(start), stop: String(stop) });
  if (corpus) query.set("corpus", corpus);
  return call(`documents/${encodeURIComponent(id)}?${query}`, { signal });
}

/** The marked place in sight and under the keyboard, or the title. @param {HTMLElement} main */
function showPlace(main) {
  const mark = main.querySelector("mark");
  focusOn(/** @type {HTMLElement | null} */ (mark ?? main.querySelector("h1")));
  if (mark) mark.scrollIntoView({ block: "center" });
  else scrollTo(0, 0);
}

/** @param {any} error @param {() => void} again @param {string} id @param {Span} span */
function failed(error, again, id, span) {
  if (!(error instanceof ApiError) || error.code !== "corpus_changed") return errorNotice(error, again, workspace());
  const link = href(["corpus", "document", id], { ...span });
  return h(
    "div",
    { class: "notice", role: "alert", "data-testid": "corpus-changed" },
    h("p", {}, h("strong", {}, "The corpus has changed"), " since this link was made, so that the place in the document may be another now."),
    h("p", {}, h("button", { type: "button", onclick: () => go(link) }, "Open the document as it is now")),
  );
}

/**
 * The document from its first loaded part on, with buttons for what comes before and after.
 * @param {string} id
 * @param {any} first DocumentView
 * @param {Span} span
 * @param {AbortSignal} signal
 */
function drawn(id, first, span, signal) {
  let { start, stop } = first;
  let [head, tail] = [first.text, first.text];
  const text = h("div", { class: "document-text corpus-text", "data-testid": "document-text" }, paragraphs(first, span));
  const problem = h("div", {});
  const earlier = loader("Load what comes before", "load-before", async () => {
    const part = await readPart(id, first.corpus, Math.max(start - PART, 0), signal, start);
    const more = paragraphs(part, span);
    if (oneLine(part.text, head)) text.firstElementChild?.prepend(...(more.pop()?.childNodes ?? []));
    text.prepend(...more);
    start = part.start;
    head = part.text;
  });
  const later = loader("Load more", "load-more", async () => {
    const part = await readPart(id, first.corpus, stop, signal);
    const more = paragraphs(part, span);
    if (oneLine(tail, part.text)) text.lastElementChild?.append(...(more.shift()?.childNodes ?? []));
    text.append(...more);
    stop = part.stop;
    tail = part.text;
  });
  /** @param {string} label @param {string} testid @param {() => Promise<void>} load */
  function loader(label, testid, load) {
    const button = h("button", { type: "button", class: "load", onclick: press, "data-testid": testid }, label);
    async function press() {
      if (button.getAttribute("aria-busy") === "true") return;
      button.setAttribute("aria-busy", "true");
      put(problem);
      try {
        await load();
      } catch (error) {
        if (!signal.aborted) put(problem, errorNotice(error, press, workspace()));
      }
      button.setAttribute("aria-busy", "false");
      update();
    }
    return button;
  }
  const extent = h("p", { class: "meta", "data-testid": "extent" });
  function update() {
    const all = start === 0 && stop >= first.length;
    extent.textContent = all
      ? `All ${counted(first.length, "character")}; chunks begin at a thin mark.`
      : `Characters ${count(start)} to ${count(stop)} of ${count(first.length)}; chunks begin at a thin mark.`;
    earlier.hidden = start === 0;
    later.hidden = stop >= first.length;
  }
  update();
  return [
    h("h1", { "data-testid": "document-title" }, first.title || first.id),
    h("p", { class: "meta" }, "from ", h("code", {}, first.source), " · id ", h("code", {}, first.id)),
    extent,
    earlier,
    text,
    problem,
    later,
  ];
}

// The text -----------------------------------------------------------------------------------------

/**
 * The paragraphs of a part, cut where chunks begin and where the marked place begins and ends.
 * @param {any} part DocumentView
 * @param {Span} span
 * @returns {HTMLElement[]}
 */
function paragraphs(part, span) {
  const points = Array.from(part.text);
  const begins = new Set(part.chunks.map((chunk) => chunk.start));
  const cuts = [...begins, ...(span ? [span.start, span.stop] : [])];
  return lines(points, part.start).map(([from, to]) => {
    const inside = cuts.filter((cut) => cut > from && cut < to);
    const edges = [...new Set([from, ...inside, to])].sort((a, b) => a - b);
    const pieces = edges.slice(0, -1).map((begin, n) => {
      const words = points.slice(begin - part.start, edges[n + 1] - part.start).join("");
      const marked = span && begin >= span.start && begin < span.stop;
      return [
        begins.has(begin) && h("span", { class: "cut", "aria-hidden": "true" }),
        marked ? h("mark", { "data-testid": "marked" }, words) : words,
      ];
    });
    return h("p", {}, pieces.flat());
  });
}

/** Whether the end of one part and the beginning of the next are one line. @param {string} before @param {string} after */
function oneLine(before, after) {
  return /\S[^\n]*$/.test(before) && /^[^\n]*\S/.test(after);
}

/**
 * Where each line that is not empty begins and ends, in the document's characters.
 * @param {string[]} points
 * @param {number} offset
 * @returns {[number, number][]}
 */
function lines(points, offset) {
  /** @type {[number, number][]} */
  const found = [];
  let from = 0;
  for (let at = 0; at <= points.length; at += 1) {
    if (at < points.length && points[at] !== "\n") continue;
    const blank = points.slice(from, at).every((point) => point.trim() === "");
    if (!blank) found.push([offset + from, offset + at]);
    from = at + 1;
  }
  return found;
}
