// @ts-check
// Asks for the server's access token and keeps it as long as the tab lives; knows nothing of calls.

import { freshId, h } from "./dom.js";

const KEY = "openrealm-token";
/** @type {string | null} */
let kept = null;
/** @type {Promise<boolean> | null} */
let asking = null;

/** The token that was given, if any. @returns {string | null} */
export function storedToken() {
  try {
    kept ??= sessionStorage.getItem(KEY);
  } catch {
    // storage is switched off: the token lives as long as the page
  }
  return kept;
}

/** Forgets a token that was refused, unless another has taken its place. @param {string | null} token */
export function forgetToken(token) {
  if (token === null || kept !== token) return;
  kept = null;
  store(null);
}

/** @param {string | null} token */
function store(token) {
  try {
    if (token === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, token);
  } catch {
    // see storedToken
  }
}

/**
 * Asks for the token; calls that need it at the same time share one question.
 * @param {boolean} refused Whether one was tried.
 * @param {boolean} quiet Do not begin to ask.
 * @returns {Promise<boolean>} Whether there is one now.
 */
export function askForToken(refused, quiet) {
  if (storedToken()) return Promise.resolve(true);
  if (quiet && !asking) return Promise.resolve(false);
  asking ??= dialog(refused).finally(() => {
    asking = null;
  });
  return asking;
}

/** @param {boolean} refused @returns {Promise<boolean>} */
function dialog(refused) {
  const heading = freshId("token");
  const input = h("input", {
    id: freshId("token"),
    type: "password",
    autocomplete: "off",
    required: true,
    "data-testid": "token-input",
  });
  const close = () => box.close();
  const form = h(
    "form",
    { onsubmit: accept },
    h("h2", { id: heading }, "Access token"),
    refused && h("p", { class: "notice bad", role: "alert" }, "That token was refused."),
    h("p", {}, "This server asks for the token that it was started with. It is kept until this tab is closed."),
    h("label", { for: input.id }, "Token"),
    input,
    h(
      "div",
      { class: "buttons" },
      h("button", { type: "submit", class: "primary", "data-testid": "token-submit" }, "Continue"),
      h("button", { type: "button", onclick: close, "data-testid": "token-cancel" }, "Cancel"),
    ),
  );
  const box = h("dialog", { "aria-labelledby": heading, "data-testid": "token-dialog" }, form);

  /** @param {Event} event */
  function accept(event) {
    event.preventDefault();
    kept = input.value.trim();
    store(kept);
    close();
  }

  document.body.append(box);
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      box.remove();
      resolve(storedToken() !== null);
    });
  });
}
