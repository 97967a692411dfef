// The buttons for what a user can do to a job now.

import { paths } from "../api.js";
import { el, icon, toggle } from "../dom.js";
import { t } from "../i18n/index.js";
import { ICONS } from "../icons.js";
import { VERBS } from "../model/states.js";
import { confirmed } from "./dialog.js";

/** Make the buttons. `act(what)` carries out pause, resume, cancel, retry or delete. */
export function makeToolbar(id, act) {
  const button = (what, drawing, listener = () => act(what)) =>
    el("button", { type: "button", class: "button", hidden: true, data: { verb: what }, onclick: listener }, icon(drawing), t(`verb.${what}`));
  const asking = (what) => async () => {
    if (await confirmed({ title: t(`confirm.${what}_title`), text: t(`confirm.${what}`), action: t(`verb.${what}`) })) act(what);
  };
  const verbs = {
    pause: button("pause", ICONS.pause),
    resume: button("resume", ICONS.play),
    retry: button("retry", ICONS.retry),
    cancel: button("cancel", ICONS.stop, asking("cancel")),
  };
  const remove = button("delete", ICONS.trash, asking("delete"));
  remove.classList.add("quiet");
  const zip = el("a", { class: "button primary", href: paths.archive(id), download: true, hidden: true }, icon(ICONS.download), t("verb.download"));
  const element = el("div", { class: "toolbar", role: "group", "aria-label": t("job.actions") }, zip, ...Object.values(verbs), remove);
  return {
    element,
    show: (job) => {
      toggle(zip, job.counts.succeeded > 0);
      toggle(remove, true);
      for (const [what, each] of Object.entries(verbs)) toggle(each, VERBS[what].has(job.state) && (what !== "retry" || job.counts.failed > 0));
    },
  };
}
