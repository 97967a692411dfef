// The start page, where the user hands over an album.

import { el } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n/index.js";
import { makeDropzone } from "../ui/dropzone.js";
import { textOf } from "../ui/errors.js";
import { makeHero, sampleUrl } from "../ui/hero.js";
import { skippedText } from "../ui/skipped.js";
import { OptionsPanel } from "../ui/options.js";
import { Harvest } from "../uploads/collect.js";
import { submitArchives, submitPhotos } from "../uploads/submit.js";

const SAMPLES = ["astronaut", "coffee", "cat", "rocket", "photographer"];

/** Show the start page in `main`; return the function that closes it. */
export function open(main, _, { go, title }) {
  title("");
  const view = new HomeView(go);
  main.append(view.element);
  return () => view.close();
}

class HomeView {
  constructor(go) {
    this.go = go;
    this.busy = false;
    this.leaving = new AbortController();
    this.dropzone = makeDropzone({ title: t("home.drop"), hint: t("home.drop_hint"), onHarvest: (found) => this.#take(found) });
    this.options = new OptionsPanel();
    this.hero = makeHero();
    this.element = el("div", { class: "home" },
      el("div", { class: "home-intro" },
        el("h1", { tabindex: "-1" }, t("home.title")), el("p", { class: "lead" }, t("home.lead"))),
      el("div", { class: "home-hand" }, this.dropzone.element, this.options.element),
      el("div", { class: "home-show" }, this.hero.element, makeSamples(() => this.#tryOut())));
  }

  close() {
    this.leaving.abort();
    this.dropzone.close();
    this.options.close();
    this.hero.close();
  }

  /** Make a job of the photos found, and go to it. */
  async #take(harvest) {
    if (this.busy) return;
    if (harvest.photos.length + harvest.archives.length === 0) return this.dropzone.say([t("home.nothing"), skippedText(harvest.skipped)].join(" ").trim());
    this.busy = true;
    this.dropzone.busy(0);
    try {
      const job = harvest.archives.length > 0 ? await this.#sendArchives(harvest) : await this.#announce(harvest);
      this.go(`/jobs/${job.id}`);
    } catch (error) {
      if (!this.leaving.signal.aborted) this.#showProblem(error);
    } finally {
      this.busy = false;
      this.dropzone.busy(null);
    }
  }

  #showProblem(error) {
    this.dropzone.say(textOf(error));
    if (error.code === "model_unavailable") this.options.askModels();
  }

  async #announce(harvest) {
    this.dropzone.say(t("home.announcing", { count: harvest.photos.length }));
    return submitPhotos(harvest, await this.options.chosen());
  }

  async #sendArchives(harvest) {
    const onShare = (share) => {
      this.dropzone.busy(share);
      this.dropzone.say(share < 1 ? t("home.sending_share", { share: percent(Math.floor(100 * share) / 100) }) : t("home.unpacking"));
    };
    onShare(0);
    return submitArchives(harvest, await this.options.chosen(), onShare, this.leaving.signal);
  }

  async #tryOut() {
    try {
      const harvest = new Harvest();
      for (const file of await Promise.all(SAMPLES.map(fetchSample))) harvest.add(file, `${t("samples.folder")}/${file.name}`);
      await this.#take(harvest);
    } catch {
      this.dropzone.say(t("problem.offline"));
    }
  }
}

function makeSamples(onTry) {
  return el("section", { class: "samples", "aria-label": t("samples.title") },
    el("div", { class: "samples-strip", "aria-hidden": "true" },
      ...SAMPLES.map((name) => el("img", { src: sampleUrl(`${name}.jpg`), alt: "", width: "64", height: "64", decoding: "async" }))),
    el("button", { type: "button", class: "button", onclick: onTry }, t("samples.try")),
    el("p", { class: "hint" }, t("samples.credit")));
}

async function fetchSample(name) {
  const response = await fetch(sampleUrl(`${name}.jpg`));
  return new File([await response.blob()], `${name}.jpg`, { type: "image/jpeg" });
}
