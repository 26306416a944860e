// @ts-check
// Reads and writes what is shown as the part of the address after #, so that links can be shared
// and Back works; knows no view.

/**
 * @typedef {object} Route
 * @property {string} view
 * @property {string[]} path What follows the view, decoded.
 * @property {URLSearchParams} params
 */

/** What the address says. @returns {Route} */
export function currentRoute() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/").map(decoded);
  return { view: view || "ask", path: rest, params: new URLSearchParams(query) };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a % that stands for itself
  }
}

/**
 * A link; empty parameters are left out.
 * @param {string[]} path
 * @param {Record<string, string | number | boolean | null | undefined>} [params]
 */
export function href(path, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (value || value === 0) query.set(name, String(value));
  }
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/**
 * Goes to a link; to go where one is already means to do it again.
 * @param {string} link
 */
export function go(link) {
  if (location.hash === link) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = link;
}

/**
 * Notes in the address what is looked at, without a step for Back.
 * @param {string} link
 */
export function note(link) {
  history.replaceState(history.state, "", link);
}
