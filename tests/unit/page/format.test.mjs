import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { baseName, bytes, duration, moment, number, percent } from "../../../api/static/format.js";
import { choose, has, language, preferred, t } from "../../../api/static/i18n/index.js";
import { nameOfJob } from "../../../api/static/model/names.js";
import { makeJob, openPage } from "./browser.mjs";

openPage();
process.env.TZ = "UTC";
choose("en");
afterEach(() => choose("en"));

for (const [count, text] of [
  [0, "0 byte"], [999, "999 byte"], [1000, "1 kB"], [1540, "1.5 kB"], [9_500, "9.5 kB"], [12_345_678, "12 MB"],
  [4_200_000_000, "4.2 GB"], [5e15, "5,000 TB"],
]) {
  test(`${count} bytes are ${text}`, () => assert.equal(bytes(count), text));
}

for (const [seconds, text] of [
  [0.2, "1 second"], [42.4, "42 seconds"], [59.4, "59 seconds"], [59.5, "1 minute"], [200, "3 minutes"],
  [3570, "1 hour 0 min"], [4800, "1 hour 20 min"],
]) {
  test(`${seconds} seconds are ${text}`, () => assert.equal(duration(seconds), text));
}

for (const [name, base] of [
  ["a.jpg", "a.jpg"], ["Summer/deep/a.jpg", "a.jpg"], ["C:\\Photos\\a.jpg", "a.jpg"], ["mixed\\up/a.jpg", "a.jpg"],
  ["folder/", "folder/"],
]) {
  test(`the last part of ${name} is ${base}`, () => assert.equal(baseName(name), base));
}

test("numbers are grouped and have the requested digits", () => {
  assert.equal(number(1234.56), "1,235");
  assert.equal(number(1234.56, 1), "1,234.6");
  assert.equal(percent(0.07), "7%");
});

test("a time is written in the language of the reader", () => {
  assert.match(moment("2026-05-04T10:20:30Z"), /May 4, 2026, 10:20\sAM/);
  choose("zh-CN");
  assert.equal(moment("2026-05-04T10:20:30Z"), "2026年5月4日 10:20");
});

for (const [languages, chosen] of [
  [["zh-TW", "en"], "zh-CN"], [["de", "zh-CN", "en"], "zh-CN"], [["en-GB", "zh"], "en"], [["fr"], "en"], [[], "en"],
]) {
  test(`a reader of ${languages.join(", ") || "nothing"} gets ${chosen}`, () => assert.equal(preferred(languages), chosen));
}

test("a chosen language applies to all later texts", () => {
  choose("zh-CN");

  assert.equal(language(), "zh-CN");
  assert.equal(document.documentElement.lang, "zh-CN");
  assert.equal(t("state.succeeded"), "完成");
});

test("texts have singular and plural, and group their numbers", () => {
  assert.equal(t("time.minutes", { count: 1 }), "1 minute");
  assert.equal(t("time.minutes", { count: 2 }), "2 minutes");
  assert.equal(t("facts.of", { count: 1000, total: 5000 }), "1,000 of 5,000");
});

test("a missing text is an error, and can be checked before", () => {
  assert.throws(() => t("no.such"), /There is no text no.such/);
  assert.equal(has("no.such"), false);
  assert.equal(has("state.succeeded"), true);
  // Inherited properties of objects do not count.
  assert.equal(has("toString"), false);
});

test("a job is named by its title, or else by its time", () => {
  assert.deepEqual(nameOfJob(makeJob({ title: "Summer" })), { name: "Summer", dated: false });
  const { name, dated } = nameOfJob(makeJob());
  assert.match(name, /May 4, 2026/);
  assert.equal(dated, true);
});
