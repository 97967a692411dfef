// The panel for a job's uploads: pause, resume, try again, or drop the same folder again.

import { el, icon, say, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { takesUploads } from "../model/states.js";
import { missingUploads } from "../uploads/protocol.js";
import { resumeUploads } from "../uploads/submit.js";
import { makeDropzone } from "./dropzone.js";
import { textOf } from "./errors.js";
import { skippedText } from "./skipped.js";

/**
 * Make the panel for the uploads of a job. `session` sends them from this page, or is null after a reload. `onResumed` is
 * called once they continue.
 */
export function makeUploadPanel(model, session, onResumed) {
  const element = el("div", { class: "upload-panel", hidden: true });
  const panel = session ? makeControls(session) : null;
  /** @type {ReturnType<typeof makeResumption> | null} */
  let dropzone = null;
  if (panel) element.append(panel.element);

  const show = (job) => {
    const arriving = takesUploads(job);
    toggle(element, arriving);
    if (!arriving) return close();
    if (panel) return panel.show();
    if (dropzone === null) {
      dropzone = makeResumption(model, onResumed);
      element.append(dropzone.element);
    }
  };
  const close = () => {
    dropzone?.close();
    dropzone?.element.remove();
    dropzone = null;
  };
  return { element, show, close };
}

function makeControls(session) {
  const pause = el("button", { type: "button", class: "button", onclick: () => session.pause() }, icon(ICONS.pause), t("upload.pause"));
  const resume = el("button", { type: "button", class: "button primary", onclick: () => session.resume() }, icon(ICONS.play), t("upload.resume"));
  const retry = el("button", { type: "button", class: "button primary", onclick: () => session.resume() }, icon(ICONS.retry), t("upload.retry"));
  const note = el("p", { class: "hint" });
  const problem = el("p", { class: "problem", role: "alert", hidden: true });
  const skipped = skippedText(session.skipped);
  const left = el("p", { class: "hint upload-skipped", hidden: skipped === "" }, skipped);
  const element = el("div", { class: "card upload-controls" }, el("div", {}, note, left, problem), el("div", { class: "choices" }, pause, resume, retry));
  const show = () => {
    toggle(pause, session.state === "sending");
    toggle(resume, session.state === "paused");
    toggle(retry, session.state === "stuck");
    say(note, t(session.state === "stuck" ? "upload.stuck_hint" : "upload.keep_open"));
    toggle(problem, session.state === "stuck");
    if (session.problem) say(problem, textOf(session.problem));
  };
  return { element, show };
}

function makeResumption(model, onResumed) {
  const dropzone = makeDropzone({
    title: t("upload.again_title"), hint: t("upload.again"), zips: false,
    onHarvest: async (harvest) => {
      try {
        dropzone.say(t("upload.comparing"));
        const { found, missing } = await resumeUploads(model.id, harvest.photos);
        if (missing > 0) dropzone.say(t("upload.not_these", { found, missing }));
        else onResumed();
      } catch (error) {
        dropzone.say(textOf(error));
      }
    },
  });
  missingUploads(model.id).then(
    (missing) => dropzone.say(t("upload.missing", { count: missing.length })),
    (error) => dropzone.say(textOf(error)),
  );
  return dropzone;
}
