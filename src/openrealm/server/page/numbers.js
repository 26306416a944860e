// @ts-check
// Writes numbers for people to read; knows nothing of where they come from.

const grouped = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A probability with three decimals. @param {number} p */
export function probability(p) {
  if (p > 0 && p < 0.0005) return "<0.001";
  if (p >= 0.9995 && p < 1 - 1e-6) return ">0.999";
  return p.toFixed(3);
}

/** A count with its thousands apart. @param {number} n */
export function count(n) {
  return grouped.format(n);
}

/** A count with its noun. @param {number} n @param {string} one @param {string} [many] */
export function counted(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** With its sign; the minus is a real one. @param {number} x @param {number} [digits] */
export function signed(x, digits = 2) {
  const text = Math.abs(x).toFixed(digits);
  return x < 0 ? `−${text}` : `+${text}`;
}

/** A figure of unknown size with about four digits. @param {number} x */
export function figure(x) {
  if (Number.isInteger(x)) return count(x);
  const size = Math.abs(x);
  if (size >= 100) return grouped.format(Math.round(x));
  if (size >= 10) return x.toFixed(1);
  if (size >= 0.0005) return x.toFixed(3);
  return x.toExponential(1);
}

/** What e^u times as likely is in words. @param {number} u */
export function times(u) {
  const factor = Math.exp(u);
  if (factor >= 1e6) return "more than a million";
  if (factor >= 10) return count(Math.round(factor));
  if (factor >= 0.01) return factor.toFixed(2);
  return "less than 0.01";
}

/** A day and an hour. @param {number} seconds since 1970 */
export function when(seconds) {
  return moment.format(new Date(seconds * 1000));
}

/** A share as per cent. @param {number} share */
export function percent(share) {
  return `${Math.round(100 * share)} %`;
}
