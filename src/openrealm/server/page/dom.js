// @ts-check
// Makes elements out of plain values, always as text and never as markup; knows nothing of openrealm.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Attributes */

/**
 * An HTML element. `on...` attributes are listeners, `props` are custom properties for the style
 * sheet; false, null and undefined leave an attribute out.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/**
 * An SVG element; see `h`.
 * @param {string} tag
 * @param {Attributes} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/**
 * @param {any} element
 * @param {Attributes} attributes
 * @param {(Child | Child[])[]} children
 */
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "props") {
      for (const [prop, set] of Object.entries(value)) element.style.setProperty(prop, String(set));
    } else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...solid(children));
  return element;
}

/** @param {(Child | Child[])[]} children */
function solid(children) {
  return children.flat().filter((c) => c !== null && c !== undefined && c !== false).map(asNode);
}

/** @param {any} child */
function asNode(child) {
  return typeof child === "number" ? String(child) : child;
}

/**
 * Puts these in place of whatever an element holds.
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function put(element, ...children) {
  element.replaceChildren(...solid(children));
}

let lastId = 0;

/**
 * An id that no other element has.
 * @param {string} stem
 */
export function freshId(stem) {
  lastId += 1;
  return `${stem}-${lastId}`;
}

/**
 * Draws now, and again whenever the element's width changes.
 * @param {HTMLElement} element
 * @param {(width: number) => void} draw
 * @returns {() => void} What draws again, say with other data.
 */
export function drawnToWidth(element, draw) {
  let width = 0;
  const observer = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now === width || now === 0) return;
    width = now;
    draw(width);
  });
  observer.observe(element);
  return () => {
    if (width) draw(width);
  };
}

/**
 * Tells screen readers something that the eye sees anyway.
 * @param {string} text
 */
export function announce(text) {
  const live = document.getElementById("live");
  if (live) live.textContent = text;
}

/**
 * Moves the keyboard to a heading or a region.
 * @param {HTMLElement | null} element
 */
export function focusOn(element) {
  if (!element) return;
  if (element.tabIndex < 0) element.setAttribute("tabindex", "-1");
  element.focus();
}
