// The API key, if keys are in force: asked for once, sent with every request, and kept as long as the user wants.

import { askForKey } from "./ui/key_dialog.js";

const KEY = "fathom.key";
/** Milliseconds after which to renew the cookie with which the browser fetches pictures. */
const RENEWAL = 30 * 60 * 1000;

/** The user gave no key. */
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

/** Call `listener` whenever a key is given or forgotten; return the function that ends this. */
export function onKeyChange(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Return the headers that authenticate a request.
 * @returns {Record<string, string>}
 */
export function keyHeader() {
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

/** Ask the user for a key until the API accepts one. Throws NoKey if the user gives up. */
export function signIn() {
  asking ??= askForKey(tryKey).then((given) => {
    if (!given) throw new NoKey();
  }).finally(() => { asking = null; });
  return asking;
}

/** Forget the key and end its session. */
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

/** Try a key; return null if it is good, else the code of the error. */
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
    // Without storage, the key lasts as long as the page.
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
