// @ts-check
// Cuts texts by Unicode code points, as the API counts them (JavaScript counts UTF-16 units);
// knows nothing of elements.

/**
 * Characters `start` to `stop` of a text.
 * @param {string} text
 * @param {number} start
 * @param {number} [stop]
 */
export function slice(text, start, stop) {
  return Array.from(text).slice(Math.max(start, 0), stop).join("");
}

/**
 * A text as what is before, in and after a span, which may lie partly outside.
 * @param {string} text
 * @param {number} start
 * @param {number} stop
 * @returns {[string, string, string]}
 */
export function around(text, start, stop) {
  const points = Array.from(text);
  const first = Math.min(Math.max(start, 0), points.length);
  const last = Math.min(Math.max(stop, first), points.length);
  return [
    points.slice(0, first).join(""),
    points.slice(first, last).join(""),
    points.slice(last).join(""),
  ];
}

/**
 * A text cut where some words stand in it, as whole words and in any case: odd pieces are matches.
 * @param {string} text
 * @param {string} words
 * @returns {string[]}
 */
export function splitAt(text, words) {
  const wanted = words.trim();
  if (!/[\p{L}\p{N}]/u.test(wanted)) return [text];
  const literal = wanted.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&").replace(/\s+/g, "\\s+");
  return text.split(new RegExp(`(?<![\\p{L}\\p{N}])(${literal})(?![\\p{L}\\p{N}])`, "giu"));
}

/**
 * The first sentence of a text.
 * @param {string} text
 */
export function firstSentence(text) {
  const trimmed = text.trim();
  if ("Segmenter" in Intl) {
    for (const part of new Intl.Segmenter(undefined, { granularity: "sentence" }).segment(trimmed)) {
      if (part.segment.trim()) return part.segment.trim().replace(/\s+/g, " ");
    }
  }
  return (/^.*?[.!?](?=\s|$)/s.exec(trimmed)?.[0] ?? trimmed).replace(/\s+/g, " ");
}

/**
 * A text shortened for a list.
 * @param {string} text
 * @param {number} [most]
 */
export function shortened(text, most = 280) {
  const points = Array.from(text);
  return points.length <= most ? text : `${points.slice(0, most).join("").trimEnd()}…`;
}
