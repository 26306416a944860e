// @ts-check
// Puts the view that the address names on the page and keeps the header true; knows no view's
// inside.

import { pause } from "./api.js";
import { askView } from "./ask.js";
import { freshState, knownState } from "./context.js";
import { corpusView } from "./corpus.js";
import { focusOn, h, put } from "./dom.js";
import { insideView } from "./inside.js";
import { prose, sentence } from "./parts.js";
import { currentRoute } from "./router.js";
import { runsView } from "./runs.js";

/** @typedef {import("./router.js").Route} Route */
/** @typedef {{show: (route: Route) => void, leave: () => void}} View */

/** @type {Record<string, {title: string, make: (main: HTMLElement) => View}>} */
const VIEWS = {
  ask: { title: "Ask", make: askView },
  inside: { title: "Look inside", make: insideView },
  corpus: { title: "Corpus", make: corpusView },
  runs: { title: "Runs", make: runsView },
};
const THEMES = ["auto", "light", "dark"];

const main = /** @type {HTMLElement} */ (document.getElementById("main"));
/** @type {{name: string, view: View} | null} */
let shown = null;

function showRoute() {
  const route = currentRoute();
  const name = route.view in VIEWS ? route.view : "ask";
  if (shown?.name !== name) {
    const first = shown === null;
    shown?.view.leave();
    put(main);
    shown = { name, view: VIEWS[name].make(main) };
    markTab(name);
    if (!first) {
      focusOn(main.querySelector("h1"));
      scrollTo(0, 0);
    }
  }
  setTitle(name);
  shown.view.show(route);
}

/** @param {string} name */
function setTitle(name) {
  const workspace = knownState()?.workspace;
  document.title = [VIEWS[name].title, workspace, "openrealm"].filter(Boolean).join(" · ");
}

/** @param {string} name */
function markTab(name) {
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.getAttribute("data-view") === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

// The header --------------------------------------------------------------------------------------

async function watchState() {
  for (let quiet = false; ; quiet = true) {
    let pauseS = 30;
    try {
      const state = await freshState(quiet);
      showState(state);
      if (!state.ready) pauseS = 5;
    } catch (error) {
      showLost(error);
      pauseS = 5;
    }
    await pause(pauseS);
    if (document.hidden) {
      await new Promise((seen) => document.addEventListener("visibilitychange", seen, { once: true }));
    }
  }
}

/** @param {import("./context.js").State} state */
function showState(state) {
  put(byId("workspace"), state.workspace);
  byId("version").textContent = `openrealm ${state.version}`;
  setTitle(shown?.name ?? "ask");
  const { source } = state;
  const text = source
    ? source.run === null
      ? source.note
      : `${source.run}, after ${source.stage}, generation ${source.generation}`
    : "nothing answers yet";
  mark(state.ready ? "good" : "wait", state.ready ? "ready" : "not ready", text, state.reason);
}

/** @param {any} error */
function showLost(error) {
  mark("bad", "not connected", error.message ?? String(error), null);
}

/** @param {string} kind @param {string} word @param {string} text @param {string | null} reason */
function mark(kind, word, text, reason) {
  const said = `${kind} ${text} ${reason}`;
  const source = byId("source");
  if (source.dataset.said === said) return;
  source.dataset.said = said;
  put(
    source,
    h("span", { class: `dot ${kind}`, "aria-hidden": "true" }),
    h("strong", {}, word),
    h("span", { class: "source-text" }, prose(text)),
    reason && h("span", { class: "source-reason" }, sentence(reason)),
  );
}

/** @param {string} id @returns {HTMLElement} */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

// The theme ---------------------------------------------------------------------------------------

function offerThemes() {
  const button = byId("theme");
  const root = document.documentElement;
  const say = () => {
    const now = root.dataset.theme ?? "auto";
    put(button, h("span", { class: "theme-word" }, "Theme: "), now);
    button.setAttribute("aria-label", `Theme: ${now}`);
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    remember(next);
    say();
  });
  say();
}

/** @param {string} theme */
function remember(theme) {
  try {
    localStorage.setItem("openrealm-theme", theme);
  } catch {
    // storage is switched off: the choice lasts as long as the page
  }
}

// -------------------------------------------------------------------------------------------------

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part of the address after # is the view's
  focusOn(main);
});
addEventListener("hashchange", showRoute);
offerThemes();
showRoute();
watchState();
