// @ts-check
// Draws lines and stacked areas over training steps as SVG, with a legend, a summary in words and
// the numbers as a table. Knows no names of figures.

import { drawnToWidth, h, put, svg } from "./dom.js";
import { count, figure } from "./numbers.js";
import { table } from "./parts.js";

/** @typedef {[number, number]} Point */

/**
 * @typedef {object} Series
 * @property {string} label
 * @property {Point[]} points By step.
 * @property {number} colour One of the style sheet's colours, 1 to 6.
 * @property {"line" | "faint" | "dots" | "area"} kind `faint` lines have no place in the legend.
 * @property {number} [dash] One of the dash patterns, 0 (none) to 3.
 */

/**
 * @typedef {object} Chart
 * @property {string} title
 * @property {string} unit
 * @property {Series[]} series Areas are stacked in their order, over the same steps.
 * @property {number} [low] The axis reaches at least down to here; 0 by default.
 * @property {number} [high] The axis ends here, whatever the values.
 * @property {{step: number, label: string}[]} [marks] Moments on the axis.
 * @property {string} [marksLabel]
 */

/** @typedef {{name: string, first: number, last: number}} Band */

const MARGIN = { left: 52, right: 14, top: 22, bottom: 30 };
const HIGH = 190;
const DASHES = ["", "7 3", "2 3", "9 3 2 3"];
const MOST_ROWS = 40;

/**
 * A figure that is drawn again with other data by its `update`.
 * @param {string} testid
 * @returns {{element: HTMLElement, update: (chart: Chart, bands: Band[]) => void}}
 */
export function chartFigure(testid) {
  const head = h("h3", {});
  const legend = h("ul", { class: "legend" });
  const frame = h("div", { class: "chart-frame" });
  const readout = h("p", { class: "readout", "aria-hidden": "true" });
  const caption = h("p", { class: "caption" });
  const below = h("div", { class: "under-chart" }, readout, caption);
  const numbers = h("details", { ontoggle: fillTable }, h("summary", {}, "Numbers"), h("div", {}));
  const element = h("section", { class: "chart", "data-testid": testid }, head, legend, frame, below, numbers);
  /** @type {{chart: Chart, bands: Band[]} | null} */
  let now = null;

  const redraw = drawnToWidth(frame, (width) => {
    if (now) put(frame, drawing(width, now.chart, now.bands, (text) => (readout.textContent = text)));
  });
  function fillTable() {
    if (now && numbers.open) put(numbers.lastElementChild, numberTable(now.chart));
  }
  return {
    element,
    update(chart, bands) {
      now = { chart, bands };
      const empty = chart.series.every((series) => !series.points.length);
      put(head, chart.title, h("span", { class: "unit" }, ` ${chart.unit}`));
      put(legend, empty ? [] : legendOf(chart));
      put(caption, empty ? "No figures yet." : wordsFor(chart));
      numbers.hidden = empty;
      frame.hidden = empty;
      redraw();
      fillTable();
    },
  };
}

// The drawing --------------------------------------------------------------------------------------

/** @param {number} width @param {Chart} chart @param {Band[]} bands @param {(text: string) => void} tell */
function drawing(width, chart, bands, tell) {
  const layers = stacked(chart.series);
  const all = layers.flatMap((layer) => layer.series.points.map((p, n) => p[1] + (layer.below[n] ?? 0)));
  const steps = layers.flatMap((layer) => layer.series.points.map((p) => p[0]));
  const [x0, x1] = bands.length ? [bands[0].first, bands.at(-1)?.last ?? 1] : [Math.min(...ends(steps)), Math.max(...ends(steps))];
  const ticks = niceTicks(Math.min(chart.low ?? 0, least(all)), chart.high ?? greatest(all));
  const [y0, y1] = [ticks[0], chart.high ?? ticks[ticks.length - 1]];
  const plot = { wide: width - MARGIN.left - MARGIN.right, high: HIGH };
  const x = (step) => ((step - x0) / Math.max(x1 - x0, 1)) * plot.wide;
  const y = (value) => plot.high * (1 - (Math.min(value, y1) - y0) / (y1 - y0 || 1));
  const scale = { x, y, ...plot };
  const cursor = svg("line", { class: "cursor", y1: 0, y2: plot.high, visibility: "hidden" });
  const picture = svg(
    "svg",
    { class: "lines", viewBox: `0 0 ${width} ${HIGH + MARGIN.top + MARGIN.bottom}`, width, height: HIGH + MARGIN.top + MARGIN.bottom, role: "img", "aria-label": `${chart.title}. ${wordsFor(chart)}` },
    svg(
      "g",
      { transform: `translate(${MARGIN.left} ${MARGIN.top})` },
      bands.map((band, n) => bandOf(band, n, scale)),
      ticks.filter((t) => t <= y1).map((t) => horizontal(t, scale)),
      stepTicks(x0, x1, scale),
      layers.map((layer) => layerOf(layer, scale)),
      (chart.marks ?? []).map((each) => markOf(each, scale)),
      cursor,
    ),
  );
  hovering(picture, { chart, x, wide: plot.wide, cursor, tell });
  return picture;
}

/** @param {number[]} values */
function ends(values) {
  return values.length ? [least(values), greatest(values)] : [0, 1];
}

/** @param {number[]} values */
function least(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

/** @param {number[]} values */
function greatest(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

/** @typedef {{series: Series, below: number[]}} Layer */

/** Areas on top of each other; lines stay where they are. @param {Series[]} series @returns {Layer[]} */
function stacked(series) {
  /** @type {number[]} */
  let floor = [];
  return series.map((each) => {
    if (each.kind !== "area") return { series: each, below: [] };
    const below = floor;
    floor = each.points.map((point, n) => point[1] + (below[n] ?? 0));
    return { series: each, below };
  });
}

/** @typedef {{x: (step: number) => number, y: (value: number) => number, wide: number, high: number}} Scale */

/** @param {Layer} layer @param {Scale} scale */
function layerOf({ series, below }, scale) {
  const { x, y } = scale;
  const shape = { class: `series ${series.kind} colour-${series.colour}` };
  if (series.kind === "dots") {
    return svg("g", shape, series.points.map(([step, v]) => svg("circle", { cx: x(step).toFixed(1), cy: y(v).toFixed(1), r: 4 })));
  }
  if (series.kind === "area") {
    const top = series.points.map(([step, v], n) => place(x(step), y(v + (below[n] ?? 0))));
    const floor = series.points.map(([step], n) => place(x(step), y(below[n] ?? 0))).reverse();
    return top.length ? svg("path", { ...shape, d: `M${[...top, ...floor].join("L")}Z` }) : null;
  }
  const drawn = thinned(series.points.map(([step, v]) => [x(step), y(v)]), scale.wide);
  const dots = drawn.length === 1 ? svg("circle", { class: "alone", cx: drawn[0][0], cy: drawn[0][1], r: 3 }) : null;
  return svg("g", shape, svg("polyline", { points: drawn.map(([a, b]) => place(a, b)).join(" "), "stroke-dasharray": DASHES[series.dash ?? 0] || null }), dots);
}

/** @param {number} x @param {number} y */
function place(x, y) {
  return `${x.toFixed(1)},${y.toFixed(1)}`;
}

/**
 * A line with the lowest and highest point of each pixel, where it has many more.
 * @param {number[][]} points
 * @param {number} wide
 */
function thinned(points, wide) {
  if (points.length <= 3 * wide) return points;
  /** @type {Map<number, number[][]>} */
  const pixels = new Map();
  for (const point of points) {
    const pixel = pixels.get(Math.floor(point[0]));
    if (!pixel) pixels.set(Math.floor(point[0]), [point, point]);
    else if (point[1] < pixel[0][1]) pixel[0] = point;
    else if (point[1] > pixel[1][1]) pixel[1] = point;
  }
  return [...pixels.values()].flatMap((pair) => pair.sort((a, b) => a[0] - b[0]));
}

/** @param {Band} band @param {number} n @param {Scale} scale */
function bandOf(band, n, { x, wide, high }) {
  const [left, right] = [Math.max(x(band.first), 0), Math.min(x(band.last), wide)];
  const named = right - left > 7 * band.name.length;
  return svg(
    "g",
    { class: n % 2 ? "band odd" : "band" },
    svg("rect", { x: left, width: Math.max(right - left, 0), y: 0, height: high }),
    named && svg("text", { x: (left + right) / 2, y: -7, "text-anchor": "middle" }, band.name),
  );
}

/** @param {number} value @param {Scale} scale */
function horizontal(value, { y, wide }) {
  return svg(
    "g",
    { class: value === 0 ? "rule zero" : "rule" },
    svg("line", { x1: 0, x2: wide, y1: y(value), y2: y(value) }),
    svg("text", { x: -8, y: y(value) + 4, "text-anchor": "end" }, tickText(value)),
  );
}

/** @param {number} value */
function tickText(value) {
  return count(Number(value.toPrecision(6)));
}

/** @param {number} x0 @param {number} x1 @param {Scale} scale */
function stepTicks(x0, x1, { x, wide, high }) {
  const ticks = niceTicks(x0, x1, Math.max(Math.floor(wide / 90), 2)).filter((t) => t >= x0 && t <= x1);
  return svg(
    "g",
    { class: "steps" },
    ticks.map((t) => svg("text", { x: x(t), y: high + 18, "text-anchor": "middle" }, tickText(t))),
  );
}

/** @param {{step: number, label: string}} each @param {Scale} scale */
function markOf({ step, label }, { x, high }) {
  const at = x(step);
  return svg("path", { class: "mark", d: `M${at - 4},${high}L${at},${high - 8}L${at + 4},${high}Z` }, svg("title", {}, label));
}

/** Round numbers that span two values. @param {number} low @param {number} high @param {number} [most] @returns {number[]} */
function niceTicks(low, high, most = 5) {
  if (!Number.isFinite(low) || !Number.isFinite(high)) return [0, 1];
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / most));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => span / s <= most) ?? 10 * power;
  const first = Math.floor(low / step);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

// Values under the pointer --------------------------------------------------------------------------

/** @param {SVGElement} picture @param {{chart: Chart, x: (step: number) => number, wide: number, cursor: SVGElement, tell: (text: string) => void}} what */
function hovering(picture, { chart, x, cursor, tell }) {
  const steps = [...new Set(chart.series.flatMap((series) => series.points.map((p) => p[0])))];
  picture.addEventListener("pointermove", (event) => {
    const at = event.clientX - picture.getBoundingClientRect().left - MARGIN.left;
    const step = steps.reduce((best, each) => (Math.abs(x(each) - at) < Math.abs(x(best) - at) ? each : best), steps[0]);
    if (step === undefined) return;
    cursor.setAttribute("visibility", "visible");
    cursor.setAttribute("x1", String(x(step)));
    cursor.setAttribute("x2", String(x(step)));
    tell(`step ${count(step)}: ${valuesAt(chart, step).join(", ")}`);
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    tell("");
  });
}

/** @param {Chart} chart @param {number} step */
function valuesAt(chart, step) {
  return chart.series
    .filter((series) => series.kind !== "faint")
    .flatMap((series) => series.points.filter((p) => p[0] === step).slice(-1).map((p) => `${series.label} ${figure(p[1])}`));
}

// In words and numbers -------------------------------------------------------------------------------

/** @param {Chart} chart */
function legendOf(chart) {
  const shown = chart.series.filter((series) => series.kind !== "faint" && series.points.length);
  const items = shown.map((series) => h("li", {}, sample(series), series.label));
  if (chart.marks?.length) {
    const arrow = svg("svg", { width: 14, height: 10, "aria-hidden": "true" }, svg("path", { class: "mark", d: "M3,9L7,1L11,9Z" }));
    items.push(h("li", {}, arrow, chart.marksLabel ?? "marks"));
  }
  return items;
}

/** @param {Series} series */
function sample(series) {
  const shape = { class: `series ${series.kind} colour-${series.colour}` };
  /** @type {Record<string, () => any>} */
  const kinds = {
    dots: () => svg("g", shape, svg("circle", { cx: 13, cy: 5, r: 4 })),
    area: () => svg("path", { ...shape, d: "M0,0H26V10H0Z" }),
    line: () => svg("g", shape, svg("polyline", { points: "0,5 26,5", "stroke-dasharray": DASHES[series.dash ?? 0] || null })),
  };
  return svg("svg", { width: 26, height: 10, "aria-hidden": "true" }, kinds[series.kind]());
}

/** From where to where each line goes. @param {Chart} chart */
function wordsFor(chart) {
  const parts = chart.series
    .filter((series) => series.kind !== "faint" && series.points.length)
    .map(({ label, points }) => {
      const [first, last] = [points[0][1], points[points.length - 1][1]];
      return points.length > 1 ? `${label}: ${figure(first)} → ${figure(last)}` : `${label}: ${figure(last)}`;
    });
  if (chart.marks?.length) parts.push(`${chart.marksLabel}: ${count(chart.marks.length)} times`);
  return `${parts.join("; ")}.`;
}

/** @param {Chart} chart */
function numberTable(chart) {
  const shown = chart.series.filter((series) => series.kind !== "faint" && series.points.length);
  const values = shown.map((series) => new Map(series.points));
  const steps = [...new Set(shown.flatMap((series) => series.points.map((p) => p[0])))].sort((a, b) => a - b);
  const every = Math.ceil(steps.length / MOST_ROWS);
  const some = steps.filter((_, n) => n % every === 0 || n === steps.length - 1);
  return table(
    every > 1 ? `${chart.title}: every ${count(every)}th step logged` : chart.title,
    ["step", ...shown.map((series) => series.label)],
    some.map((step) => [count(step), ...values.map((at) => (at.has(step) ? figure(at.get(step) ?? 0) : ""))]),
    { class: "numbers" },
  );
}
