// @ts-check
// The view of the corpus: search, the documents, what was ingested and what was skipped, and the
// way to a single document. Knows no run's training.

import { call, onlyLatest } from "./api.js";
import { workspace } from "./context.js";
import { documentView } from "./document.js";
import { focusOn, freshId, h, put } from "./dom.js";
import { count, counted, when } from "./numbers.js";
import { command, emptyState, errorNotice, figures, hitItem, setBusy, sourceLine, table, waiting, waitingIn } from "./parts.js";
import { go, href } from "./router.js";

const PAGE = 50;

/** @typedef {import("./router.js").Route} Route */

/** @param {HTMLElement} main */
export function corpusView(main) {
  /** @type {{kind: string, show: (route: Route) => void, leave: () => void} | null} */
  let inner = null;

  /** @param {Route} route */
  function show(route) {
    const kind = route.path[0] === "document" ? "document" : "overview";
    if (inner?.kind !== kind) {
      const first = inner === null;
      inner?.leave();
      put(main);
      inner = { kind, ...(kind === "document" ? documentView(main) : overview(main)) };
      if (!first && kind === "overview") focusOn(main.querySelector("h1"));
    }
    inner.show(route);
  }

  return { show, leave: () => inner?.leave() };
}

/** @param {HTMLElement} main */
function overview(main) {
  const searching = onlyLatest();
  const listing = onlyLatest();
  const whole = onlyLatest();
  const input = h("input", {
    id: freshId("search"), type: "search", maxlength: "4000", autocomplete: "off", "data-testid": "search-text",
  });
  const button = h("button", { type: "submit", class: "primary", "data-testid": "search" }, "Search");
  const form = h(
    "form",
    { onsubmit: submit, role: "search", "aria-label": "Search the chunks" },
    h("label", { for: input.id }, "Search for chunks"),
    h("div", { class: "one-line" }, input, button),
  );
  const counts = h("div", { "data-testid": "counts" });
  const results = h("div", { class: "results", "data-testid": "results" });
  const documents = h("section", { "data-testid": "documents" });
  const ingests = h("section", { "data-testid": "ingests" });
  put(
    main,
    h("h1", {}, "Corpus"),
    h("p", { class: "lede" }, "The documents that are retrieved from, and the chunks that they were cut into."),
    counts,
    form,
    results,
    documents,
    ingests,
  );
  showWhole();
  let listed = -1;

  /** @param {Event} event */
  function submit(event) {
    event.preventDefault();
    const q = input.value.trim();
    go(href(["corpus"], { q }));
  }

  /** @param {Route} route */
  function show({ params }) {
    const query = params.get("q") ?? "";
    input.value = query;
    search(query);
    const offset = Math.max(Number(params.get("offset")) || 0, 0);
    if (offset !== listed) list(offset, listed >= 0);
  }

  /** @param {string} text */
  async function search(text) {
    const signal = searching.next();
    setBusy(form, button, Boolean(text));
    if (!text) return put(results);
    const tell = waitingIn(results);
    tell("Searching…");
    try {
      const body = { text, k: 10 };
      const found = await call("search", { body, signal, onWait: tell });
      if (signal.aborted) return;
      put(results, ...hitList(found));
      focusOn(results.querySelector("h2"));
    } catch (error) {
      if (signal.aborted) return;
      put(results, errorNotice(error, () => search(text), workspace()));
    }
    setBusy(form, button, false);
  }

  /** @param {number} offset @param {boolean} focus */
  async function list(offset, focus) {
    const signal = listing.next();
    if (!focus) put(documents, waiting("Reading the list of documents…"));
    try {
      const found = await call(`documents?offset=${offset}&limit=${PAGE}`, { signal });
      if (signal.aborted) return;
      listed = offset;
      put(documents, ...documentList(found));
      if (focus) focusOn(documents.querySelector("h2"));
    } catch (error) {
      if (!signal.aborted) put(documents, errorNotice(error, () => list(offset, focus), workspace()));
    }
  }

  async function showWhole() {
    const signal = whole.next();
    try {
      const corpus = await call("corpus", { signal });
      put(counts, corpusFigures(corpus));
      put(ingests, ...ingestList(corpus.ingests));
    } catch (error) {
      if (!signal.aborted) put(counts, errorNotice(error, showWhole, workspace()));
    }
  }

  return { show, leave: () => [searching, listing, whole].forEach((each) => each.stop()) };
}

/** @param {any} corpus CorpusView */
function corpusFigures(corpus) {
  return figures([
    ["documents", count(corpus.documents)],
    ["chunks", count(corpus.chunks)],
    ["tokens of a chunk, at most", count(corpus.chunk_tokens)],
    ["vocabulary", count(corpus.vocab_size)],
  ]);
}

/** @param {any} found SearchResponse */
function hitList(found) {
  return [
    h("h2", {}, found.hits.length ? "Chunks found" : "Nothing was found"),
    sourceLine(found.source),
    h("ol", { class: "hits", "data-testid": "hits" }, found.hits.map((hit) => hitItem(hit, found.source.corpus))),
  ];
}

// Documents ----------------------------------------------------------------------------------------

/** @param {any} found DocumentList */
function documentList({ total, offset, documents, corpus }) {
  if (!total) {
    return [
      emptyState(
        "No documents yet",
        "Files and folders, as text, Markdown, HTML, PDF, DOCX or JSON lines, become documents with",
        command(`openrealm ingest my-documents --to ${workspace()}`),
      ),
    ];
  }
  const last = offset + documents.length;
  return [
    h("h2", {}, "Documents"),
    h("p", { class: "meta" }, documents.length ? `${count(offset + 1)} to ${count(last)} of ${count(total)}` : `None from ${count(offset + 1)} on; there are ${count(total)}.`),
    h(
      "ul",
      { class: "documents" },
      documents.map((each) =>
        h(
          "li",
          { "data-testid": "document-entry" },
          h("a", { href: href(["corpus", "document", each.id], { corpus }) }, each.title || each.id),
          h("span", { class: "meta" }, `${each.source} · ${counted(each.chunks, "chunk")}`),
        ),
      ),
    ),
    h(
      "nav",
      { class: "pager", "aria-label": "Pages of the list" },
      offset > 0 && h("a", { href: href(["corpus"], { offset: Math.max(offset - PAGE, 0) || null }), "data-testid": "previous" }, "← Previous"),
      last < total && h("a", { href: href(["corpus"], { offset: last }), "data-testid": "next" }, "Next →"),
    ),
  ];
}

// Ingests ------------------------------------------------------------------------------------------

/** @param {any[]} ingests */
function ingestList(ingests) {
  if (!ingests.length) return [];
  return [h("h2", {}, "What was ingested"), ...ingests.map(ingestItem)];
}

/** @param {any} ingest IngestView */
function ingestItem(ingest) {
  const changes = [
    [ingest.added, "added"],
    [ingest.replaced, "replaced"],
    [ingest.removed, "removed"],
    [ingest.unchanged, "unchanged"],
  ].filter(([n]) => n).map(([n, what]) => `${count(n)} ${what}`);
  return h(
    "article",
    { class: "ingest", "data-testid": "ingest" },
    h("h3", {}, when(ingest.time)),
    h("p", { class: "sources" }, ingest.sources.map((source) => h("code", {}, source))),
    h("p", {}, `Documents: ${changes.join(", ") || "none"}. Chunks afterwards: ${count(ingest.chunks)}.`),
    ingest.num_problems > 0 && problemsOf(ingest),
  );
}

/** @param {any} ingest */
function problemsOf(ingest) {
  const shown = ingest.problems.length;
  const some = shown < ingest.num_problems ? `, the first ${count(shown)} of which are shown` : "";
  return h(
    "details",
    { "data-testid": "problems" },
    h("summary", {}, `${count(ingest.num_problems)} skipped${some}`),
    table(
      "What was skipped, and why",
      ["source", "line", "reason"],
      ingest.problems.map((each) => [h("code", {}, each.source), each.line === null ? "–" : count(each.line), each.reason]),
    ),
  );
}
