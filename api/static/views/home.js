// Where an album is handed over.

import { el } from "../dom.js";
import { percent } from "../format.js";
import { t } from "../i18n/index.js";
import { makeDropzone } from "../ui/dropzone.js";
import { textOf } from "../ui/errors.js";
import { makeHero } from "../ui/hero.js";
import { chosenOptions, optionsPanel } from "../ui/options.js";
import { Harvest } from "../uploads/collect.js";
import { submitArchives, submitPhotos } from "../uploads/submit.js";

const SAMPLES = ["astronaut", "coffee", "cat", "rocket", "photographer"];

/** Show the start in `main`; returns the function that ends it. */
export function open(main, _, { go, title }) {
  title("");
  const leaving = new AbortController();
  let busy = false;
  const dropzone = makeDropzone({ title: t("home.drop"), hint: t("home.drop_hint"), onHarvest: take });
  const hero = makeHero();
  const samples = makeSamples(() => tryOut());
  main.append(el("div", { class: "home" },
    el("div", { class: "home-intro" },
      el("h1", { tabindex: "-1" }, t("home.title")),
      el("p", { class: "lead" }, t("home.lead"))),
    el("div", { class: "home-hand" }, dropzone.element, optionsPanel()),
    el("div", { class: "home-show" }, hero.element, samples)));

  async function take(harvest) {
    if (busy) return;
    const { photos, archives } = harvest;
    if (photos.length + archives.length === 0) return dropzone.say(t("home.nothing"));
    busy = true;
    try {
      dropzone.busy(0);
      const job = archives.length > 0 ? await sendArchives(harvest) : await announce(photos);
      go(`/jobs/${job.id}`);
    } catch (error) {
      if (!leaving.signal.aborted) dropzone.say(textOf(error));
    } finally {
      busy = false;
      dropzone.busy(null);
    }
  }

  function announce(photos) {
    dropzone.say(t("home.announcing", { count: photos.length }));
    return submitPhotos(photos, chosenOptions());
  }

  function sendArchives(harvest) {
    const onShare = (share) => {
      dropzone.busy(share);
      dropzone.say(share < 1 ? t("home.sending_share", { share: percent(Math.floor(100 * share) / 100) }) : t("home.unpacking"));
    };
    onShare(0);
    return submitArchives(harvest, chosenOptions(), onShare, leaving.signal);
  }

  async function tryOut() {
    if (busy) return;
    try {
      const harvest = new Harvest();
      const files = await Promise.all(SAMPLES.map(fetchSample));
      for (const file of files) harvest.add(file, `${t("samples.folder")}/${file.name}`);
      await take(harvest);
    } catch (error) {
      dropzone.say(textOf(error));
    }
  }

  return () => {
    leaving.abort();
    dropzone.close();
    hero.close();
  };
}

function makeSamples(onTry) {
  return el("section", { class: "samples", "aria-label": t("samples.title") },
    el("div", { class: "samples-strip", "aria-hidden": "true" },
      ...SAMPLES.map((name) => el("img", { src: urlOf(`${name}.jpg`), alt: "", width: "64", height: "64", decoding: "async" }))),
    el("button", { type: "button", class: "button", onclick: onTry }, t("samples.try")),
    el("p", { class: "hint" }, t("samples.credit")));
}

async function fetchSample(name) {
  const response = await fetch(urlOf(`${name}.jpg`));
  return new File([await response.blob()], `${name}.jpg`, { type: "image/jpeg" });
}

function urlOf(name) {
  return new URL(`../samples/${name}`, import.meta.url).href;
}
