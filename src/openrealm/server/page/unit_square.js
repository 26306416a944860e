// @ts-check
// Draws p(y|x) = Σ p(z|x) p(y|z,x) as an area: a column for each candidate, as wide as it is likely
// to be retrieved and filled as high as the filling is likely beside it. Knows no texts.

import { freshId, svg } from "./dom.js";
import { probability } from "./numbers.js";

/**
 * @typedef {object} Column
 * @property {string} label What stands under the column.
 * @property {string} title What a pointer that rests on it is told.
 * @property {boolean} isNull
 * @property {number} pZ
 * @property {number} pY p(y|z,x).
 */

/**
 * @typedef {object} Picture
 * @property {Column[]} columns
 * @property {number} marginal p(y|x).
 * @property {number} top Upper end of the vertical axis.
 * @property {number} chosen The column that is looked at.
 * @property {string} name What the picture shows, in a sentence.
 * @property {(column: number) => void} choose
 */

const MARGIN = { left: 46, right: 12, top: 26, bottom: 58 };

/**
 * The picture at a width in pixels.
 * @param {number} width
 * @param {Picture} picture
 */
export function unitSquare(width, picture) {
  const size = Math.min(width, 480) - MARGIN.left - MARGIN.right;
  const height = Math.round(size * 0.86) + MARGIN.top + MARGIN.bottom;
  const box = { size, high: height - MARGIN.top - MARGIN.bottom };
  const hatch = freshId("hatch");
  return svg(
    "svg",
    {
      class: "square",
      viewBox: `0 0 ${size + MARGIN.left + MARGIN.right} ${height}`,
      width: size + MARGIN.left + MARGIN.right,
      height,
      role: "img",
      "aria-label": picture.name,
      "data-testid": "picture",
    },
    svg("defs", {}, hatching(hatch)),
    svg(
      "g",
      { transform: `translate(${MARGIN.left} ${MARGIN.top})` },
      svg("rect", { class: "field-of", width: size, height: box.high }),
      grid(box, picture.top),
      columnsOf(box, picture, hatch),
      marginalLine(box, picture),
      axes(box, picture.top),
    ),
  );
}

/** @param {string} id */
function hatching(id) {
  const turned = { patternUnits: "userSpaceOnUse", width: 6, height: 6, patternTransform: "rotate(45)" };
  return svg("pattern", { id, ...turned }, svg("line", { class: "hatch", x1: 0, y1: 0, x2: 0, y2: 6 }));
}

/** @typedef {{size: number, high: number}} Box */

/** @param {Box} box @param {Picture} picture @param {string} hatch */
function columnsOf(box, picture, hatch) {
  let x = 0;
  const drawn = picture.columns.map((column, n) => {
    const wide = column.pZ * box.size;
    const left = x;
    x += wide;
    return columnOf(box, picture, { column, n, left, wide, hatch });
  });
  const front = drawn[picture.chosen];
  return svg("g", {}, drawn.filter((each) => each !== front), front); // the chosen frame on top
}

/**
 * @param {Box} box
 * @param {Picture} picture
 * @param {{column: Column, n: number, left: number, wide: number, hatch: string}} place
 */
function columnOf(box, picture, { column, n, left, wide, hatch }) {
  const filled = Math.min(column.pY / picture.top, 1) * box.high;
  const whole = { x: left, width: wide, y: 0, height: box.high };
  const bottom = { x: left, width: wide, y: box.high - filled, height: filled };
  const chosen = n === picture.chosen;
  const middle = left + wide / 2;
  return svg(
    "g",
    { class: chosen ? "column chosen" : "column", onclick: () => picture.choose(n) },
    svg("title", {}, column.title),
    column.isNull && svg("rect", { ...whole, fill: `url(#${hatch})` }),
    svg("rect", { class: "column-fill", ...bottom, "fill-opacity": (0.3 + 0.7 * column.pY).toFixed(3) }),
    column.isNull && svg("rect", { ...bottom, fill: `url(#${hatch})` }),
    svg("rect", { class: "column-frame", ...whole }),
    (wide >= 13 || chosen) &&
      svg("text", { class: "column-label", x: middle, y: box.high + 15, "text-anchor": "middle" }, column.label),
    column.isNull && wide >= 14 && nullLabel(middle, wide),
  );
}

/** Lying where there is room, else standing. @param {number} middle @param {number} wide */
function nullLabel(middle, wide) {
  const lying = wide >= 66;
  const place = lying
    ? { x: middle, y: 16, "text-anchor": "middle" }
    : { transform: `translate(${middle + 4} 8) rotate(-90)`, "text-anchor": "end" };
  return svg("text", { class: "null-label", ...place }, "null chunk");
}

/** The height at which the area would lie if it were levelled. @param {Box} box @param {Picture} picture */
function marginalLine(box, { marginal, top }) {
  const y = box.high * (1 - Math.min(marginal / top, 1));
  const text = `p(y|x) = ${probability(marginal)}`;
  const above = y > 24;
  return svg(
    "g",
    { class: "marginal" },
    svg("line", { x1: 0, x2: box.size, y1: y, y2: y }),
    svg("text", { x: box.size - 4, y: above ? y - 6 : y + 17, "text-anchor": "end" }, text),
  );
}

/** @param {Box} box @param {number} top */
function grid(box, top) {
  const lines = [0.25, 0.5, 0.75].map((part) =>
    svg("line", { x1: 0, x2: box.size, y1: box.high * part, y2: box.high * part }),
  );
  return svg("g", { class: "grid", "data-top": top }, lines);
}

/** @param {Box} box @param {number} top */
function axes(box, top) {
  const shares = [0, 0.25, 0.5, 0.75, 1];
  const vertical = shares.map((part) =>
    svg("text", { x: -7, y: box.high * (1 - part) + 4, "text-anchor": "end" }, tick(part * top)),
  );
  const ends = [0, 0.5, 1].map((part) =>
    svg("line", { class: "tick", x1: part * box.size, x2: part * box.size, y1: box.high, y2: box.high + 4 }),
  );
  const below = { y: box.high + 34 };
  return svg(
    "g",
    { class: "axes" },
    svg("line", { x1: 0, x2: box.size, y1: box.high, y2: box.high }),
    svg("line", { x1: 0, x2: 0, y1: 0, y2: box.high }),
    ends,
    vertical,
    svg("text", { x: 0, ...below, "text-anchor": "middle" }, "0"),
    svg("text", { x: box.size, ...below, "text-anchor": "middle" }, "1"),
    svg("text", { class: "axis-name", x: box.size / 2, y: box.high + 50, "text-anchor": "middle" }, "p(z|x), adding up to 1"),
    svg("text", { class: "axis-name", x: -MARGIN.left + 4, y: -12 }, "p(y|z,x)"),
  );
}

/** @param {number} value */
function tick(value) {
  return value === 0 ? "0" : String(Number(value.toPrecision(2)));
}

/**
 * An upper end for the vertical axis: 1, or where it is stretched, a round number above all values.
 * @param {number[]} values
 * @param {boolean} stretched
 */
export function axisTop(values, stretched) {
  const highest = Math.max(...values, 0);
  if (!stretched || highest <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  const step = [1, 2, 4, 6, 8, 10].find((s) => s * power >= highest) ?? 10;
  return Math.min(step * power, 1);
}
