// Numbers, sizes, times and names as people read them, in their language.

import { language, t } from "./i18n/index.js";

const BYTES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

export function number(value, digits = 0) {
  const style = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(language(), style).format(value);
}

export function percent(share) {
  return new Intl.NumberFormat(language(), { style: "percent" }).format(share);
}

/** Bytes in decimal units, as storage is sold. */
export function bytes(count) {
  const power = Math.min(BYTES.length - 1, count < 1 ? 0 : Math.floor(Math.log10(count) / 3));
  const value = count / 1000 ** power;
  const digits = power > 0 && value < 10 ? 1 : 0;
  return new Intl.NumberFormat(language(), {
    style: "unit", unit: BYTES[power], unitDisplay: "short", maximumFractionDigits: digits,
  }).format(value);
}

/** Seconds, rounded to what matters: 42 seconds, 3 minutes, 1 hour 20 minutes. */
export function duration(seconds) {
  if (seconds < 59.5) return t("time.seconds", { count: Math.max(1, Math.round(seconds)) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return t("time.minutes", { count: minutes });
  return t("time.hours", { count: Math.floor(minutes / 60), minutes: minutes % 60 });
}

export function moment(text) {
  return new Intl.DateTimeFormat(language(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(text));
}

/** Return the last part of a name that may hold folders. */
export function baseName(name) {
  return name.slice(Math.max(name.lastIndexOf("/"), name.lastIndexOf("\\")) + 1) || name;
}
