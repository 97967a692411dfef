// The API key, where keys are in force: asked for once, sent with every request, kept as long as its owner says.

import { askForKey } from "./ui/key_dialog.js";

const KEY = "fathom.key";
/** Milliseconds after which the cookie that pictures are fetched with is renewed. */
const RENEWAL = 30 * 60 * 1000;

/** The key was not given. */
class NoKey extends Error {
  constructor() {
    super("unauthenticated");
    this.code = "unauthenticated";
    this.status = 401;
  }
}

let key = recall();
/** @type {Promise<void> | null} */
let asking = null;
/** @type {number | undefined} */
let renewal;
const listeners = new Set();

export function hasKey() {
  return key !== null;
}

/** Call `listener` whenever a key was given or forgotten. */
export function onKeyChange(listener) {
  listeners.add(listener);
}

/**
 * Return the headers that say who asks.
 * @returns {Record<string, string>}
 */
export function keyHeader() {
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

/** Ask for a key until there is one that the API takes. Throws NoKey if none is given. */
export function signIn() {
  asking ??= askForKey(tryKey).then((given) => {
    if (!given) throw new NoKey();
  }).finally(() => { asking = null; });
  return asking;
}

/** Forget the key and end what was begun with it. */
export async function signOut() {
  forgetKey();
  await fetch("/v1/session", { method: "DELETE" }).catch(() => {});
}

export function forgetKey() {
  setKey(null, false);
}

/** Renew the cookie with which the browser fetches pictures, files and events. */
export async function renewSession() {
  if (key === null) return;
  await fetch("/v1/session", { method: "POST", headers: keyHeader() }).catch(() => {});
}

/** Try a key; returns null if it is good, else the code of what is wrong. */
async function tryKey(text, kept) {
  try {
    const response = await fetch("/v1/session", { method: "POST", headers: { Authorization: `Bearer ${text}` } });
    if (response.ok) setKey(text, kept);
    return response.ok ? null : (await response.json()).code;
  } catch {
    return "offline";
  }
}

function setKey(text, kept) {
  key = text;
  clearInterval(renewal);
  if (key !== null) renewal = setInterval(renewSession, RENEWAL);
  try {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
    if (key !== null) (kept ? localStorage : sessionStorage).setItem(KEY, key);
  } catch {
    // Without storage the key lasts as long as the page.
  }
  for (const listener of listeners) listener();
}

function recall() {
  try {
    return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

if (key !== null) renewal = setInterval(renewSession, RENEWAL);
