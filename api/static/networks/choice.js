// Which network a job gets: those on offer, the one chosen, and what there is to say about it.

/** @import { Model } from "../api.js" */

/** What a heatmap costs without its prediction, and a prediction of `relative_cost` 1, as in shared/jobs/cost.py. */
const [OTHER, PREDICTION] = [0.7, 0.3];
/** The only network that `quality=detailed` matters to. */
const DETAILED = "midas_small";
/** Licences that restrict nobody. */
const FREE = /^(MIT|Apache-2\.0|BSD\b.*)$/;

/**
 * Return the networks that a job may get, the fastest first. `models` is null if the server does not say.
 * @param {Model[] | null} models
 */
export function offered(models) {
  return (models ?? []).filter(({ available }) => available).sort((one, other) => one.relative_cost - other.relative_cost);
}

/**
 * Return the network that a job gets: the one called `name` if it is on offer, else the server's default, else the fastest.
 * Null if nothing is on offer.
 * @param {Model[] | null} models
 */
export function pick(models, /** @type {string} */ name) {
  const choices = offered(models);
  return choices.find((each) => each.name === name) ?? choices.find((each) => each.default) ?? choices[0] ?? null;
}

/**
 * Return the option of a job for a network; the server's default needs none.
 * @returns {{model?: string}}
 */
export function modelOption(/** @type {Model | null} */ model) {
  return model === null || model.default ? {} : { model: model.name };
}

export function takesDetail(/** @type {Model | null} */ model) {
  return model === null || model.name === DETAILED;
}

/**
 * Return about how many times as long a photo takes as with the fastest network on offer. It is rounded, because the outputs
 * of a job and the machine matter too.
 * @param {Model[] | null} models
 */
export function timesAsLong(/** @type {Model} */ model, models) {
  const [fastest = model] = offered(models);
  const times = costOf(model) / costOf(fastest);
  return times < 10 ? Math.round(times) : 5 * Math.round(times / 5);
}

function costOf(/** @type {Model} */ { relative_cost }) {
  return OTHER + PREDICTION * relative_cost;
}

/** Return what restricts the use of a network, or null. A `licence` of null is not known to the server. */
export function restrictionOf(/** @type {Model} */ { weights_licence: licence, licence_note: note }) {
  return licence !== null && FREE.test(licence) && !note ? null : { licence, note };
}

/**
 * Return the title of the network that a job used, or null if there is nothing to say: it is the server's default, or that is
 * not known.
 * @param {Model[] | null} models
 */
export function unusual(models, /** @type {string | undefined} */ name) {
  if (models === null || !name) return null;
  const model = models.find((each) => each.name === name);
  return model?.default ? null : (model?.title ?? name);
}

/**
 * Return the name of a network if workers serve it now.
 * @param {Model[] | null} models
 */
export function ifServed(models, /** @type {string | undefined} */ name) {
  return offered(models).find((model) => model.name === name)?.name;
}
