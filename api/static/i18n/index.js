// Every text of the page, in the language that the reader chose or the browser prefers.

import en from "./en.js";
import zh from "./zh.js";

export const LANGUAGES = { en, "zh-CN": zh };
const KEY = "fathom.language";

let chosen = recall() ?? preferred(navigator.languages ?? [navigator.language]);
let plurals = new Intl.PluralRules(chosen);

export function language() {
  return chosen;
}

/** Change the language and remember it. The caller must draw its texts again. */
export function choose(code) {
  chosen = code;
  plurals = new Intl.PluralRules(code);
  document.documentElement.lang = code;
  try {
    localStorage.setItem(KEY, code);
  } catch {
    // Without storage, the choice lasts as long as the page.
  }
}

/** Return the page's language that comes first among those that a reader prefers. */
export function preferred(languages) {
  const known = languages.map((code) => code.toLowerCase().split("-")[0]).find((code) => code === "zh" || code === "en");
  return known === "zh" ? "zh-CN" : "en";
}

/**
 * Return a text with its `{values}` filled in. `values.count` chooses among plural forms. Numbers are written as the
 * language writes them.
 */
export function t(key, values = {}) {
  const entry = LANGUAGES[chosen][key];
  if (entry === undefined) throw new Error(`There is no text ${key}.`);
  const text = typeof entry === "string" ? entry : entry[plurals.select(values.count)] ?? entry.other;
  return text.replace(/\{(\w+)\}/g, (_, name) => written(values[name]));
}

/** Return whether there is a text. An error's code may be newer than the page. */
export function has(key) {
  return Object.hasOwn(LANGUAGES[chosen], key);
}

function written(value) {
  return typeof value === "number" ? new Intl.NumberFormat(chosen).format(value) : String(value);
}

function recall() {
  try {
    const code = localStorage.getItem(KEY);
    return Object.hasOwn(LANGUAGES, code ?? "") ? code : null;
  } catch {
    return null;
  }
}
