// A button that asks the server for one file of a photo, and saves it.

import { askBlob, askFile, askModels, paths } from "../api.js";
import { el, icon, say, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { ifServed } from "../networks/choice.js";
import { textOf } from "../ui/errors.js";
import { ORDERS, nameIn, queryOf, saveName } from "./orders.js";
import { saveBlob } from "./save.js";

/** @import { Job } from "../api.js" */
/** @import { Settings } from "./orders.js" */
/** @typedef {{job: Job, index: number, name: string}} Photo */

/**
 * Have the server make a file of a photo, and return it with the name to save it under. The job's network predicts the depth,
 * if workers still serve it. `onStage` is told what happens: `fetching` the photo, then `making` the file.
 *
 * @param {string} kind
 * @param {Photo} photo
 * @param {Settings} settings
 * @param {{signal: AbortSignal, onStage?: (stage: string) => void}} options
 */
export async function makeFile(kind, { job, index, name }, settings, { signal, onStage = () => {} }) {
  const order = ORDERS[kind];
  onStage("fetching");
  const [photo, models] = await Promise.all([
    askBlob(paths.shown(job.id, index, "input"), { signal }), job.options.model ? askModels(signal) : null,
  ]);
  const options = { ...job.options, model: ifServed(models, job.options.model) };
  onStage("making");
  const { blob, disposition } = await askFile(paths.depth(queryOf(order, settings, options)), photo, { signal });
  return { blob, name: saveName(name, nameIn(disposition), order.ending) };
}

/** The button. `kind()` names what to make, with the `settings()` of that moment. */
export class FileRequest {
  /**
   * @param {{photo: Photo, kind: () => string, settings: () => Settings, content: Node[], primary?: boolean}} options
   */
  constructor({ photo, kind, settings, content, primary = false }) {
    this.photo = photo;
    this.kind = kind;
    this.settings = settings;
    /** @type {AbortController | null} */
    this.running = null;
    this.button = el("button", { type: "button", class: primary ? "button primary" : "file", onclick: () => this.#start() }, ...content);
    this.cancel = el("button", { type: "button", class: "button quiet", onclick: () => this.close() }, icon(ICONS.stop), t("make.cancel"));
    this.status = el("p", { class: "hint", role: "status" });
    this.bar = el("div", { class: "make-bar", hidden: true, "aria-hidden": "true" });
    this.work = el("div", { class: "make-work", hidden: true }, this.bar, this.status, this.cancel);
    this.element = el("div", { class: "make-file" }, this.button, this.work);
  }

  /** Give up what is being made. */
  close() {
    this.running?.abort();
  }

  async #start() {
    if (this.running) return;
    const running = new AbortController();
    this.running = running;
    this.#show(true);
    try {
      const { signal } = running;
      const onStage = (stage) => say(this.status, t(`make.${stage}`));
      const { blob, name } = await makeFile(this.kind(), this.photo, this.settings(), { signal, onStage });
      saveBlob(blob, name);
      say(this.status, t("make.saved", { name }));
    } catch (error) {
      say(this.status, running.signal.aborted ? t("make.canceled") : textOf(error));
      this.work.toggleAttribute("data-failed", !running.signal.aborted);
    } finally {
      this.running = null;
      this.#show(false);
    }
  }

  /** Show that the server is at work. The button keeps its focus, so it is not disabled. */
  #show(busy) {
    this.button.setAttribute("aria-disabled", String(busy));
    if (busy) this.work.removeAttribute("data-failed");
    if (!busy && document.activeElement === this.cancel) this.button.focus();
    toggle(this.work, true);
    toggle(this.bar, busy);
    toggle(this.cancel, busy);
  }
}
