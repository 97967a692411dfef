// The choice of the network, shown if the server has several.

import { el, say, toggle } from "../dom.js";
import { has, t } from "../i18n/index.js";
import { offered, restrictionOf, timesAsLong } from "../networks/choice.js";

/** @import { Model } from "../api.js" */

/** A list of networks, and below it what restricts the one chosen. `onChoose` gets the chosen one's name. */
export class ModelChoice {
  constructor(/** @type {(name: string) => void} */ onChoose) {
    this.select = el("select", { id: "model", onchange: () => onChoose(this.select.value) });
    this.licence = el("span", {});
    this.note = el("span", { lang: "en" });
    this.restriction = el("p", { class: "hint", role: "status" }, this.licence, " ", this.note);
    this.element = el("div", { class: "model-choice", hidden: true },
      el("div", { class: "field" }, el("label", { for: "model" }, t("options.model")), this.select), this.restriction);
  }

  /** Offer networks, of which one is chosen. One alone is no choice. */
  offer(/** @type {Model[] | null} */ models, /** @type {Model | null} */ chosen) {
    const found = offered(models);
    const choices = found.length > 1 ? found : [];
    toggle(this.element, choices.length > 0);
    this.select.replaceChildren(...choices.map((model) => el("option", { value: model.name }, nameOf(model, models))));
    this.mark(chosen);
  }

  /** Show which network is chosen. */
  mark(/** @type {Model | null} */ model) {
    const restriction = model && restrictionOf(model);
    if (model) this.select.value = model.name;
    toggle(this.restriction, restriction !== null);
    if (!restriction) return;
    say(this.licence, restriction.licence === null ? t("model.licence_unknown") : t("model.licence", { licence: restriction.licence }));
    say(this.note, restriction.note);
  }
}

function nameOf(/** @type {Model} */ model, /** @type {Model[] | null} */ models) {
  const tier = has(`tier.${model.tier}`) ? t(`tier.${model.tier}`) : null;
  const times = timesAsLong(model, models);
  return [tier, model.title, times > 1 ? t("model.times", { count: times }) : null].filter(Boolean).join(" · ");
}
