// Chooses which photos of a job to show: all, or only the failed ones.

import { el, say } from "../dom.js";
import { t } from "../i18n/index.js";

export class JobFilter {
  /** `onChange(only)` gets whether to show only failed photos. */
  constructor(onChange) {
    this.all = new Choice(t("job.all"), () => onChange(false));
    this.failed = new Choice(t("job.failed"), () => onChange(true));
    this.element = el("div", { class: "tabs", role: "group", "aria-label": t("job.filter") }, this.all.element, this.failed.element);
  }

  show({ counts }, only) {
    this.all.show(counts.total, !only);
    this.failed.show(counts.failed, only);
    this.failed.element.toggleAttribute("data-alert", counts.failed > 0);
  }
}

class Choice {
  constructor(label, onClick) {
    this.count = el("span", { class: "count" });
    this.element = el("button", { type: "button", class: "tab", onclick: onClick }, label, this.count);
  }

  show(count, chosen) {
    this.element.setAttribute("aria-pressed", String(chosen));
    say(this.count, t("count", { count }));
  }
}
