// Sets the chosen colour theme before anything is drawn; a classic script, since a module would
// come too late. Knows nothing of the page.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("openrealm-theme");
  } catch {
    return; // storage is switched off: the system's theme it is
  }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
