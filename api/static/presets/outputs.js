// The outputs that each preset stands for, as the server knows them.

/** The outputs that the page itself needs: small pictures for the grid, and depth that a browser reads exactly. */
export const ALWAYS = ["heatmap", "thumbnail"];

/**
 * Return the outputs of all presets by their names, which the server writes into the document.
 * @returns {Record<string, string[]>}
 */
function presetOutputs() {
  const meta = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="fathom-presets"]'));
  return JSON.parse(meta?.content ?? "{}");
}

/**
 * Return the options of a job for a preset. Given outputs replace those of the preset, so they are named beside those that
 * the page needs. If the preset is unknown, the server decides.
 */
export function optionsOf(/** @type {string} */ preset, presets = presetOutputs()) {
  const own = presets[preset];
  return own ? { preset, outputs: [...new Set([...ALWAYS, ...own])] } : { preset };
}
