// @ts-check
// The view of the runs: what made each, what was measured after each stage, and its curves, which
// move while it trains. Knows no answers.

import { onlyLatest } from "./api.js";
import { chartFigure } from "./charts.js";
import { runList, shellWord, workspace } from "./context.js";
import { curvesOf, stagesOf, warningsOf } from "./curves.js";
import { announce, focusOn, h, put } from "./dom.js";
import { readMetrics } from "./live.js";
import { count, figure, when } from "./numbers.js";
import { emptyState, errorNotice, figures, noRunYet, prose, sentence, table, waiting } from "./parts.js";
import { href } from "./router.js";

/** @typedef {import("./router.js").Route} Route */
/** @typedef {import("./context.js").Run} Run */

const CURVES = ["loss", "recall", "utility", "accuracy", "p_null", "staleness", "throughput", "time"];
const REDRAW_MS = 700;

/** @param {HTMLElement} main */
export function runsView(main) {
  const latest = onlyLatest();
  /** @type {string | null} */
  let before = null;

  /** @param {Route} route */
  async function show(route) {
    const name = route.path.join("/");
    const moved = before !== null && before !== name;
    before = name;
    const signal = latest.next();
    const title = h("h1", {}, name || "Runs");
    put(main, name && crumbs(), title, waiting("Reading the runs…"));
    if (moved) focusOn(title);
    try {
      const { runs, default: standard } = await runList(signal);
      if (signal.aborted) return;
      const run = runs.find((each) => each.name === name);
      if (!name) put(main, title, ...overview(runs, standard));
      else if (run) put(main, crumbs(), title, ...runPage(run, standard, signal));
      else put(main, crumbs(), title, emptyState("No such run", `There is no run \`${name}\` in ${workspace()}.`));
    } catch (error) {
      if (!signal.aborted) put(main, name && crumbs(), title, errorNotice(error, () => show(route), workspace()));
    }
  }

  return { show, leave: latest.stop };
}

function crumbs() {
  return h("nav", { class: "crumbs", "aria-label": "Where this is" }, h("a", { href: "#/runs" }, "← Runs"));
}

// All runs -----------------------------------------------------------------------------------------

/** @param {Run[]} runs @param {string | null} standard */
function overview(runs, standard) {
  const lede = h("p", { class: "lede" }, "Each training of retriever and reader, what was measured after each stage, and its curves.");
  if (!runs.length) return [lede, noRunYet(workspace())];
  return [
    lede,
    h("ul", { class: "runs", "data-testid": "runs" }, [...runs].reverse().map((run) => runItem(run, run.name === standard))),
  ];
}

/** @param {Run} run @param {boolean} answers */
function runItem(run, answers) {
  return h(
    "li",
    { "data-testid": "run-entry" },
    h("h2", {}, h("a", { href: href(["runs", run.name]) }, run.name)),
    badges(run, answers),
    h(
      "p",
      { class: "meta" },
      `started from ${run.start}, seed ${run.seed}, ${when(run.created)}`,
    ),
    h("p", { class: "meta" }, run.stages.length ? `stages: ${run.stages.join(" → ")}` : "no checkpoint yet"),
  );
}

/** @param {Run} run @param {boolean} answers */
function badges(run, answers) {
  return h(
    "p",
    { class: "badges" },
    answers && h("span", { class: "badge good" }, "answers by default"),
    run.in_training && h("span", { class: "badge live" }, "in training"),
    run.has_reader && h("span", { class: "badge" }, "fine-tuned for questions"),
    !run.fits_corpus && h("span", { class: "badge wait" }, "another corpus"),
    run.saw_labels && h("span", { class: "badge wait" }, "start saw labels"),
    run.problem && h("span", { class: "badge bad" }, "cannot be read"),
  );
}

// One run ------------------------------------------------------------------------------------------

/** @param {Run} run @param {string | null} standard @param {AbortSignal} signal */
function runPage(run, standard, signal) {
  const measured = h("div", {}, measurements(run));
  const happened = h("div", {}, events(run));
  /** What was measured may be more when a stage, or all of the training, has ended. */
  async function again() {
    try {
      const now = (await runList(signal)).runs.find((each) => each.name === run.name);
      if (!now) return;
      Object.assign(run, now);
      put(measured, measurements(run));
      put(happened, events(run));
    } catch {
      // the next stage, or a visit, will bring them
    }
  }
  const drawn = curves(run, signal, again);
  return [
    badges(run, run.name === standard),
    run.problem && h("div", { class: "notice bad", role: "alert" }, h("p", {}, sentence(run.problem))),
    figures([
      ["started from", run.start],
      ["seed", String(run.seed)],
      ["created", when(run.created)],
      ["stages with a checkpoint", run.stages.join(" → ") || "none yet"],
    ]),
    run.saw_labels &&
      h("p", { class: "notice", "data-testid": "saw-labels" }, h("strong", {}, "The start saw labels. "), sentence(run.saw_labels)),
    !run.fits_corpus &&
      h("p", { class: "notice" }, "The corpus has changed since this run was trained. ", prose(`It can be used all the same: its weights embed the new corpus when they are first asked, or ahead with \`openrealm index ${workspace()} --run ${shellWord(run.name)}\`.`)),
    ...(run.in_training ? [drawn, measured] : [measured, drawn]),
    happened,
  ];
}

/** @param {Run} run */
function measurements(run) {
  const reports = run.reports.filter((report) => typeof report.stage === "string");
  const hidden = ["stage", "total_step"];
  const names = [...new Set(reports.flatMap((report) => Object.keys(report)))].filter((name) => !hidden.includes(name));
  if (!names.length) {
    return h("section", {}, h("h2", {}, "After each stage"), h("p", {}, "Nothing has been measured yet; the first figures come with the end of the first stage."));
  }
  return h(
    "section",
    {},
    h("h2", {}, "After each stage"),
    table(
      "What was measured after each stage",
      ["figure", ...reports.map((report) => report.stage)],
      inOrder(names).map((name) => [figureName(name), ...reports.map((report) => shownFigure(report[name]))]),
      { class: "numbers", "data-testid": "reports" },
    ),
  );
}

/** @type {Record<string, string>} */
const GROUPS = { held_out: "held-out queries", qa: "questions", probe: "probe" };
/** @type {Record<string, string>} */
const FIGURES = {
  "probe/utility": "probe: retrieval utility (nats per masked token)",
  "probe/accuracy": "probe: masked tokens right, with retrieval",
  "probe/accuracy_without": "probe: masked tokens right, without",
  "probe/p_null": "probe: p(null chunk)",
  "lexical_weight": "weight of words in common",
};

/** Groups of figures together, those of held-out queries first. @param {string[]} names */
function inOrder(names) {
  const groups = Object.keys(GROUPS);
  const rank = (name) => {
    const place = groups.indexOf(name.split("/")[0]);
    return place < 0 ? groups.length : place;
  };
  return [...names].sort((a, b) => rank(a) - rank(b));
}

/** @param {string} name */
function figureName(name) {
  const [group, rest] = name.split("/");
  return FIGURES[name] ?? (rest && GROUPS[group] ? `${GROUPS[group]}: ${rest.replaceAll("_", " ")}` : name);
}

/** @param {unknown} value */
function shownFigure(value) {
  if (typeof value === "number") return figure(value);
  return value === undefined || value === null ? "" : String(value);
}

/** @param {Run} run */
function events(run) {
  return (
    run.events.length > 0 &&
    h(
      "section",
      {},
      h("h2", {}, "Last events of refreshes"),
      h("ul", { class: "events", "data-testid": "events" }, run.events.map((event) => h("li", {}, prose(event)))),
    )
  );
}

// Curves -------------------------------------------------------------------------------------------

const STATES = {
  reading: "reading the metrics…",
  live: "live: new figures appear as they are written",
  broken: "the connection broke; trying again…",
  ended: "not in training",
};

/** @param {Run} run @param {AbortSignal} signal @param {() => Promise<void>} again */
function curves(run, signal, again) {
  const charts = new Map(CURVES.map((name) => [name, chartFigure(`chart-${name}`)]));
  const state = h("p", { class: "live-state", "data-testid": "live-state" });
  const warnings = h("div", {});
  const note = h("div", {});
  const grid = h("div", { class: "charts", hidden: true }, [...charts.values()].map((chart) => chart.element));
  /** @type {Record<string, any>[]} */
  let records = [];
  const draw = throttled(() => {
    const drawn = curvesOf(records, run.reports);
    const bands = stagesOf(records);
    grid.hidden = !bands.length;
    put(note, bands.length ? probeNote(records, run) : nothingYet(run));
    put(warnings, warningsOf(records).map((text) => h("p", { class: "notice" }, prose(text))));
    for (const [name, chart] of charts) chart.update(drawn[name], bands);
  });
  let said = "";
  const listener = {
    /** @param {Record<string, any>[]} more */
    add(more) {
      const stage = records.at(-1)?.stage;
      for (const record of more) records.push(record);
      draw();
      if (said === "live" && records.at(-1)?.stage !== stage) again().then(draw);
    },
    reset() {
      records = [];
      draw();
    },
    /** @param {keyof typeof STATES} now */
    say(now) {
      if (now === said) return;
      if (said) announce(`Curves: ${STATES[now]}`);
      if (now === "ended" && said === "live") again().then(draw);
      said = now;
      const dot = { reading: "wait", live: "good", broken: "bad", ended: "" }[now];
      const last = records.at(-1)?.total_step;
      const at = last === undefined ? "" : `; last step logged: ${count(last)}`;
      put(state, h("span", { class: `dot ${dot}`, "aria-hidden": "true" }), now === "live" ? STATES[now] : `${STATES[now]}${at}`);
      draw();
    },
  };
  const follow = () =>
    readMetrics(run.name, listener, signal).catch((error) => {
      if (!signal.aborted) put(note, errorNotice(error, follow, workspace()));
    });
  follow();
  return h("section", {}, h("h2", {}, "Curves"), state, warnings, note, grid);
}

/** @param {Run} run */
function nothingYet(run) {
  const resume = run.fits_corpus ? ` \`openrealm pretrain ${workspace()} --run ${shellWord(run.name)} --resume\` goes on.` : "";
  const text = run.in_training
    ? "The first figures come when the first steps are done."
    : `No training step has been logged.${resume}`;
  return h("p", { "data-testid": "no-metrics" }, prose(text));
}

/** @param {Record<string, any>[]} records @param {Run} run */
function probeNote(records, run) {
  const asked = [...records, ...run.reports].some((r) => Object.keys(r).some((name) => name.startsWith("probe/")));
  if (asked) return null;
  return h(
    "p",
    { class: "meta", "data-testid": "no-probe" },
    prose(run.in_training ? "The probe has not been asked yet." : "The probe was never asked: `loop.num_probe` held nothing out."),
  );
}

/** Runs something soon, and not again before a while. @param {() => void} action */
function throttled(action) {
  let waitingFor = 0;
  return () => {
    if (waitingFor) return;
    waitingFor = window.setTimeout(() => {
      waitingFor = 0;
      action();
    }, REDRAW_MS);
  };
}
