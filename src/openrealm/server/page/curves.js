// @ts-check
// From a run's metrics to the curves that are drawn of them; knows the names of the figures, and
// nothing of drawing. The same curves as openrealm's own plots, and where the time goes.

/** @typedef {Record<string, any>} MetricsRecord */
/** @typedef {import("./charts.js").Chart} Chart */
/** @typedef {import("./charts.js").Point} Point */
/** @typedef {import("./charts.js").Series} Series */

const [BLUE, ORANGE, GREEN, RED, PURPLE, SKY] = [1, 2, 3, 4, 5, 6];
/** @type {Record<string, number>} */
const STAGE_COLOURS = { mlm: SKY, ict: ORANGE, warmup: GREEN, realm: BLUE, qa: PURPLE };
/** @type {[number, number, number][]} k, colour, dashes. */
const RECALLS = [[1, BLUE, 0], [5, GREEN, 1], [20, ORANGE, 2]];
/** @type {Record<string, number>} */
const PART_COLOURS = { reading: BLUE, retrieval: ORANGE, refresh: GREEN };

/** Records sorted by kind. @param {MetricsRecord[]} records @param {MetricsRecord[]} reports */
function sorted(records, reports) {
  const timed = records.filter((r) => typeof r.total_step === "number");
  return {
    steps: timed.filter((r) => r.event === undefined),
    probes: timed.filter((r) => r.event === "probe"),
    swaps: timed.filter((r) => r.event === "swap"),
    reports: reports.filter((r) => typeof r.total_step === "number"),
  };
}

/** @typedef {ReturnType<typeof sorted>} History */

/**
 * Name, first and last total step of each stage, in order.
 * @param {MetricsRecord[]} records
 * @returns {import("./charts.js").Band[]}
 */
export function stagesOf(records) {
  /** @type {Map<string, {name: string, first: number, last: number}>} */
  const bands = new Map();
  for (const r of sorted(records, []).steps) {
    const band = bands.get(r.stage);
    if (band) band.last = r.total_step;
    else bands.set(r.stage, { name: r.stage, first: r.total_step - r.step, last: r.total_step });
  }
  return [...bands.values()];
}

/**
 * All curves of a run, by a name for each.
 * @param {MetricsRecord[]} records
 * @param {MetricsRecord[]} reports
 * @returns {Record<string, Chart>}
 */
export function curvesOf(records, reports) {
  const history = sorted(records, reports);
  return {
    loss: loss(history),
    recall: recall(history),
    utility: {
      title: "Retrieval utility",
      unit: "nats per masked token",
      series: inStagesAndProbe(history, "utility"),
    },
    accuracy: {
      title: "Masked tokens of the probe predicted",
      unit: "share of tokens",
      series: [
        line("with retrieval", atProbe(history, "probe/accuracy"), BLUE, 0),
        line("null chunk alone", atProbe(history, "probe/accuracy_without"), RED, 1),
      ],
    },
    p_null: { title: "p(null chunk | x)", unit: "probability", high: 1, series: inStagesAndProbe(history, "p_null") },
    staleness: {
      title: "Staleness of the index",
      unit: "steps since its weights",
      series: [line("staleness", staleness(history), BLUE, 0)],
      marks: history.swaps.map((r) => ({
        step: r.total_step,
        label: `generation ${r["index/generation"]} at step ${r.total_step}`,
      })),
      marksLabel: "index swapped",
    },
    throughput: {
      title: "Throughput",
      unit: "examples per second",
      series: [line("examples per second", points(history.steps, "speed/examples_per_second"), BLUE, 0)],
    },
    time: { title: "Where the time goes", unit: "seconds per step", series: timeParts(history) },
  };
}

/** @param {History} history @returns {Chart} */
function loss(history) {
  const names = [...new Set(history.steps.map((r) => r.stage))];
  const series = names.flatMap((name, n) => {
    const raw = points(history.steps.filter((r) => r.stage === name), "train/loss");
    const colour = STAGE_COLOURS[name] ?? SKY;
    const smooth = runningMean(raw);
    /** @type {Series[]} */
    const faint = smooth === raw ? [] : [{ label: name, points: raw, colour, kind: "faint" }];
    return [...faint, line(name, smooth, colour, n % 4)];
  });
  return { title: "Training loss", unit: "nats", series };
}

/** @param {History} history @returns {Chart} */
function recall(history) {
  const lines = RECALLS.map(([k, colour, dash]) =>
    line(`probe at ${k}`, atProbe(history, `probe/recall@${k}`), colour, dash),
  );
  const dots = RECALLS.map(([k, colour]) => ({
    label: `held-out queries at ${k}`,
    points: points(history.reports, `held_out/recall@${k}`),
    colour,
    kind: /** @type {const} */ ("dots"),
  }));
  return { title: "Recall", unit: "share of queries", high: 1, series: [...lines, ...dots] };
}

/** A figure of the training batches of the reading stages, and of the probe. @param {History} history @param {string} name */
function inStagesAndProbe(history, name) {
  return [
    line("warmup, training batches", points(history.steps, `warmup/${name}`), GREEN, 2),
    line("realm, training batches", points(history.steps, `realm/${name}`), BLUE, 0),
    line("probe", atProbe(history, `probe/${name}`), RED, 1),
  ];
}

/** @param {string} label @param {Point[]} at @param {number} colour @param {number} dash @returns {Series} */
function line(label, at, colour, dash) {
  return { label, points: at, colour, dash, kind: "line" };
}

/** @param {MetricsRecord[]} records @param {string} name @returns {Point[]} */
function points(records, name) {
  return records.filter((r) => typeof r[name] === "number").map((r) => [r.total_step, r[name]]);
}

/** The probe's answers during training and after each stage. @param {History} history @param {string} name */
function atProbe({ probes, reports }, name) {
  const all = [...probes, ...reports].sort((a, b) => a.total_step - b.total_step);
  return points(all, name);
}

/** Means over a window, where there are many more values than one can see. @param {Point[]} values @returns {Point[]} */
function runningMean(values) {
  const window = Math.floor(values.length / 60);
  if (window < 2) return values;
  let sum = 0;
  return values.map(([step, value], n) => {
    sum += value - (n >= window ? values[n - window][1] : 0);
    return [step, sum / Math.min(n + 1, window)];
  });
}

/**
 * Staleness as the saw that it is: up by one a step, down where the index was swapped, or else
 * where the newer index was made.
 * @param {History} history
 * @returns {Point[]}
 */
function staleness({ steps, swaps }) {
  /** @type {Point[]} */
  const saw = [];
  let madeBefore = 0;
  for (const r of steps.filter((each) => typeof each["index/staleness"] === "number")) {
    const made = r.total_step - r["index/staleness"];
    const before = saw.at(-1);
    if (before && made !== madeBefore) {
      const between = swaps.map((s) => s.total_step).filter((s) => s >= before[0] && s < r.total_step);
      const changed = between.length ? Math.max(...between) : Math.max(made, before[0]);
      saw.push([changed, changed - madeBefore], [changed, Math.max(changed - made, 0)]);
    }
    saw.push([r.total_step, r.total_step - made]);
    madeBefore = made;
  }
  return saw;
}

/** Seconds of each part of a step; a record has the sums since the one before. @param {History} history @returns {Series[]} */
function timeParts({ steps }) {
  const names = new Set(steps.flatMap((r) => Object.keys(r).filter((name) => name.startsWith("seconds/"))));
  const known = Object.keys(PART_COLOURS).filter((part) => names.delete(`seconds/${part}`));
  const parts = [...known, ...[...names].map((name) => name.slice("seconds/".length)).sort()];
  return parts.map((part, n) => ({
    label: part,
    points: steps.map((r, at) => [r.total_step, (r[`seconds/${part}`] ?? 0) / stepsSince(r, steps[at - 1])]),
    colour: PART_COLOURS[part] ?? [PURPLE, SKY, RED][n % 3],
    kind: "area",
  }));
}

/** @param {MetricsRecord} record @param {MetricsRecord | undefined} before */
function stepsSince(record, before) {
  const since = before && before.stage === record.stage ? record.step - before.step : record.step;
  return Math.max(since, 1);
}

/** Warnings that training wrote. @param {MetricsRecord[]} records @returns {string[]} */
export function warningsOf(records) {
  return records.filter((r) => r.event === "warning" && r.text).map((r) => `Step ${r.total_step}: ${r.text}`);
}
