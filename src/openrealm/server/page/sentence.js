// @ts-check
// A sentence as words that can be masked one by one; knows nothing of what fills them.

import { h, put } from "./dom.js";

export const MAX_MASKS = 8;

// Words in the sense of the reader's vocabulary, roughly: Han characters stand for themselves.
const WORDS =
  /\[MASK\]|\p{Script=Han}|(?:(?!\p{Script=Han})[\p{L}\p{M}\p{N}])+(?:['’.,](?:(?!\p{Script=Han})[\p{L}\p{M}\p{N}])+)*/gu;

/** @typedef {{text: string, word: number | null, typed: boolean}} Piece */

/**
 * A sentence as pieces; `word` numbers what can be masked, `typed` is a mask that was typed.
 * @param {string} sentence
 * @returns {Piece[]}
 */
export function piecesOf(sentence) {
  /** @type {Piece[]} */
  const pieces = [];
  let end = 0;
  let word = 0;
  for (const match of sentence.matchAll(WORDS)) {
    const between = sentence.slice(end, match.index);
    if (between) pieces.push({ text: between, word: null, typed: false });
    pieces.push({ text: match[0], word, typed: match[0] === "[MASK]" });
    word += 1;
    end = match.index + match[0].length;
  }
  if (end < sentence.length) pieces.push({ text: sentence.slice(end), word: null, typed: false });
  return pieces;
}

/** @param {Piece} piece @param {Set<number>} masked */
function isMask(piece, masked) {
  return piece.typed || (piece.word !== null && masked.has(piece.word));
}

/**
 * The sentence with its masks, as the API takes it.
 * @param {string} sentence
 * @param {Set<number>} masked Numbers of words.
 * @param {string} mask
 */
export function withMasks(sentence, masked, mask) {
  return piecesOf(sentence).map((piece) => (isMask(piece, masked) ? mask : piece.text)).join("");
}

/**
 * How many masks there are.
 * @param {string} sentence
 * @param {Set<number>} masked
 */
export function maskCount(sentence, masked) {
  return piecesOf(sentence).filter((piece) => isMask(piece, masked)).length;
}

/**
 * What stood where the masks are, for comparison with what fills them; nothing for typed masks.
 * @param {string} sentence
 * @param {Set<number>} masked
 */
export function original(sentence, masked) {
  const hidden = piecesOf(sentence).filter((piece) => isMask(piece, masked));
  return hidden.some((piece) => piece.typed) ? "" : hidden.map((piece) => piece.text).join(" ");
}

/**
 * The words that stay masked when the sentence has been edited: those before the first change, and
 * those after the last one.
 * @param {string} before
 * @param {string} after
 * @param {Set<number>} masked
 */
export function keptMasks(before, after, masked) {
  const words = (text) => piecesOf(text).filter((p) => p.word !== null).map((p) => p.text);
  const [old, now] = [words(before), words(after)];
  const shift = now.length - old.length;
  const same = (n) => n >= 0 && n < now.length;
  let head = 0;
  while (head < old.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < Math.min(old.length, now.length) - head && old.at(-1 - tail) === now.at(-1 - tail)) tail += 1;
  const moved = [...masked].flatMap((n) => (n < head ? [n] : n >= old.length - tail ? [n + shift] : []));
  return new Set(moved.filter(same));
}

/**
 * The word that says most about its sentence, at a guess: the last capitalised word or number that
 * does not begin it.
 * @param {string} sentence
 * @returns {number | null}
 */
export function tellingWord(sentence) {
  const words = piecesOf(sentence).filter((piece) => piece.word !== null && !piece.typed);
  const telling = words.slice(1).filter((piece) => /^[\p{Lu}\p{N}]/u.test(piece.text));
  return (telling.at(-1) ?? words.at(-1))?.word ?? null;
}

/**
 * Draws the words as buttons that are pressed where a word is masked.
 * @param {HTMLElement} element
 * @param {string} sentence
 * @param {Set<number>} masked
 * @param {(word: number) => void} toggle
 */
export function drawWords(element, sentence, masked, toggle) {
  const full = maskCount(sentence, masked) >= MAX_MASKS;
  put(
    element,
    piecesOf(sentence).map((piece) => {
      if (piece.word === null) return piece.text;
      const word = piece.word;
      const mask = isMask(piece, masked);
      return h(
        "button",
        {
          type: "button",
          class: "word",
          "aria-pressed": String(mask),
          "aria-disabled": piece.typed || (full && !mask) ? "true" : null,
          "aria-label": piece.typed ? "mask that was typed" : piece.text,
          "data-testid": "word",
          "data-word": word,
          onclick: () => toggle(word),
        },
        piece.typed ? "[MASK]" : h("span", { class: "word-text" }, piece.text),
        mask && !piece.typed && h("span", { class: "word-mask", "aria-hidden": "true" }, "[MASK]"),
      );
    }),
  );
}
