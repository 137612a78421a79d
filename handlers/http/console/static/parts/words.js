// @ts-check
// Two languages, as plain JSON with the same keys.

/** @type {Record<string, string>} */
let words = {};
let language = "en";

/** The language that the person chose, or else the browser's. */
export function preferred() {
  return localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
}

/** The language of the page: `en` or `zh`. */
export const spoken = () => language;

/** @param {string} wanted */
export async function speak(wanted) {
  const answer = await fetch(new URL(`../i18n/${wanted}.json`, import.meta.url));
  words = await answer.json();
  language = wanted;
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
}

/** The sentence for a key, with {0}, {1} … filled in. A key without a sentence is shown as it is.
 * @param {string} key @param {...(string | number)} values */
export function t(key, ...values) {
  return (words[key] ?? key).replace(/\{(\d)\}/g, (_, n) => String(values[Number(n)]));
}

/** Whether there is a sentence for the key. @param {string} key */
export const has = (key) => key in words;

/** 482113 → `482 kB`. @param {number} count */
export function bytes(count) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(3, Math.floor(Math.log10(Math.max(1, count)) / 3));
  const style = { style: "unit", unit: units[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(document.documentElement.lang, /** @type {any} */ (style)).format(count / 1000 ** power);
}

/** 75 → `1 min 15 s`. @param {number} count */
export function seconds(count) {
  const locale = document.documentElement.lang;
  /** @param {number} value @param {string} unit */
  const said = (value, unit) =>
    new Intl.NumberFormat(locale, /** @type {any} */ ({ style: "unit", unit, unitDisplay: "short", maximumFractionDigits: value < 10 ? 1 : 0 })).format(value);
  if (count < 60) return said(count, "second");
  if (count < 3600) return said(Math.round(count / 60), "minute");
  return said(Math.round(count / 360) / 10, "hour");
}

/** @param {number} value @param {number} [digits] */
export const number = (value, digits = 1) =>
  new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits }).format(value);

/** How long ago that was: `5 minutes ago`. @param {string} when */
export function ago(when) {
  const passed = (Date.now() - new Date(when).getTime()) / 1000;
  /** @type {[Intl.RelativeTimeFormatUnit, number][]} */
  const units = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, length] = units.find(([, least]) => passed >= least) ?? units[units.length - 1];
  return new Intl.RelativeTimeFormat(document.documentElement.lang).format(-Math.max(0, Math.floor(passed / length)), unit);
}

/** @param {string | number | Date} when @param {Intl.DateTimeFormatOptions} how */
export const date = (when, how) => new Intl.DateTimeFormat(document.documentElement.lang, how).format(new Date(when));
