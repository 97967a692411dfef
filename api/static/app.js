// The whole page: its header, and the view for the current address.

import { el, icon } from "./dom.js";
import { LANGUAGES, choose, language, t } from "./i18n/index.js";
import { ICONS } from "./icons.js";
import { hasKey, onKeyChange, renewSession, signOut } from "./api_key.js";
import { anySending } from "./uploads/upload_session.js";
import * as home from "./views/home.js";
import * as job from "./views/job.js";
import * as jobs from "./views/jobs.js";
import * as missing from "./views/missing.js";
import * as photo from "./views/photo.js";

/**
 * What a view may do to the page: `go(path)` shows another view, `title(text)` names this one, `scrolled()` scrolls back
 * to where the reader was, `redraw()` shows the view again.
 * @typedef {object} PageFrame
 * @property {(path: string, options?: {replace?: boolean}) => void} go
 * @property {(text: string) => void} title
 * @property {() => void} scrolled
 * @property {() => void} redraw
 */
/**
 * A view: `open` shows it in `main`, and returns the function that closes it, if there is anything to close.
 * @typedef {{open: (main: HTMLElement, parameters: any, page: PageFrame) => (() => void) | void}} View
 */

/** @type {[RegExp, View][]} */
const ROUTES = [
  [/^\/$/, home],
  [/^\/jobs$/, jobs],
  [/^\/jobs\/(?<id>[a-z2-7]{26})$/, job],
  [/^\/jobs\/(?<id>[a-z2-7]{26})\/photos\/(?<index>\d{1,6})$/, photo],
];
const THEME = "fathom.theme";

const app = /** @type {HTMLElement} */ (document.getElementById("app"));
let close = () => {};

/** Show the view for the address; `moved` is true if the reader came from another view. */
function draw({ moved = false } = {}) {
  close();
  const main = el("main", { id: "main" });
  app.replaceChildren(skipLink(), header(), main, footer());
  document.documentElement.lang = language();
  const [pattern, view] = ROUTES.find(([pattern]) => pattern.test(location.pathname)) ?? [/^/, missing];
  const scroll = history.state?.scroll ?? 0;
  const scrolled = () => window.scrollTo(0, scroll);
  close = view.open(main, pattern.exec(location.pathname)?.groups ?? {}, { go, title, scrolled, redraw: draw }) ?? (() => {});
  scrolled();
  if (moved) main.querySelector("h1")?.focus({ preventScroll: true });
}

/** Go to another view; with `replace`, the back button skips the current one. */
function go(path, { replace = false } = {}) {
  rememberScroll();
  // `inner` says that the back button leads to another view of this page.
  if (replace) history.replaceState({ inner: history.state?.inner }, "", path);
  else history.pushState({ inner: true }, "", path);
  draw({ moved: true });
}

function title(text) {
  document.title = text ? `${text} · Fathom` : "Fathom";
}

function rememberScroll() {
  history.replaceState({ ...history.state, scroll: window.scrollY }, "");
}

function skipLink() {
  return el("a", {
    class: "skip", href: "#main",
    onclick: (event) => {
      event.preventDefault();
      const heading = document.querySelector("main")?.querySelector("h1");
      heading?.focus();
      heading?.scrollIntoView();
    },
  }, t("skip"));
}

function header() {
  const link = (path, text) => el("a", { href: path, class: "nav-link", "aria-current": location.pathname === path ? "page" : null }, text);
  const tools = [languageButton(), themeButton()];
  if (hasKey()) tools.push(keyButton());
  return el("header", { class: "top" },
    el("a", { href: "/", class: "brand" }, el("img", { src: new URL("favicon.svg", import.meta.url).href, alt: "", width: "28", height: "28" }), el("span", {}, "Fathom")),
    el("nav", { "aria-label": t("nav.label") }, link("/", t("nav.new")), link("/jobs", t("nav.jobs"))),
    el("div", { class: "tools" }, ...tools));
}

function footer() {
  return el("footer", { class: "foot" },
    el("p", {}, t("footer.relative")),
    el("p", {}, el("a", { href: "/docs", data: { plain: "" } }, t("footer.api"))));
}

function languageButton() {
  const other = Object.keys(LANGUAGES).find((code) => code !== language());
  const name = LANGUAGES[other]["language.name"];
  return el("button", { type: "button", class: "tool", lang: other, onclick: () => { choose(other); draw(); } }, icon(ICONS.language), el("span", {}, name));
}

function themeButton() {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const button = el("button", { type: "button", class: "tool", onclick: () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(THEME, root.dataset.theme);
    show();
  } });
  const show = () => {
    const label = t(isDark() ? "theme.light" : "theme.dark");
    button.replaceChildren(icon(isDark() ? ICONS.sun : ICONS.moon));
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  show();
  return button;
}

function keyButton() {
  const leave = async () => {
    await signOut();
    go("/");
  };
  return el("button", { type: "button", class: "tool", title: t("key.forget"), "aria-label": t("key.forget"), onclick: leave }, icon(ICONS.key));
}

function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Without storage, the choice lasts as long as the page.
  }
}

/** Let links within the page change the view instead of loading the page. */
function follow(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented || link.hasAttribute("download") || "plain" in link.dataset) return;
  const url = new URL(link.href);
  if (url.origin !== location.origin || !ROUTES.some(([pattern]) => pattern.test(url.pathname))) return;
  event.preventDefault();
  go(url.pathname + url.search);
}

history.scrollRestoration = "manual";
document.addEventListener("click", follow);
window.addEventListener("popstate", () => draw({ moved: true }));
window.addEventListener("pagehide", rememberScroll);
window.addEventListener("beforeunload", (event) => {
  if (anySending()) event.preventDefault();
});
onKeyChange(() => document.querySelector("header.top")?.replaceWith(header()));
await renewSession();
draw();
