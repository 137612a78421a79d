// @ts-check
// The parameters of a scene as controls, built from their JSON Schema: a range for numbers, buttons for a few choices.
import { html, nothing } from "../vendor/lit.js";
import { scenes } from "../scenes.js";
import { has, number, t } from "./words.js";

/** @typedef {import("../scenes.js").Param} Param */

/** The sizes that have buttons of their own. */
const SIZES = [1, 2, 3, 4];
/** Parameters that have a place of their own, not among the others. */
export const APART = new Set(["scale", "mask"]);
/** Parameters that count only where the finish is a person's own. */
const OWN_FINISH = new Set(["sharpen", "saturation", "contrast"]);
/** Parameters by which no result looks otherwise. */
const UNSEEN = new Set(["tile_px"]);
const STEPS = 100;
/** Settings beside each other. */
const TRIES = 4;

/** @param {string} name */
export const label = (name) => (has(`param.${name}`) ? t(`param.${name}`) : name.replaceAll("_", " "));

/** @param {string} name @param {Param} param */
const hint = (name, param) => (has(`param.${name}.s`) ? t(`param.${name}.s`) : (param.description ?? ""));

/** @param {unknown} value */
const word = (value) => (has(`value.${value}`) ? t(`value.${value}`) : String(value));

/** @param {unknown} value */
const shown = (value) => (typeof value === "number" ? number(value, 2) : word(value));

/** A value of a parameter in words. @param {string} name @param {unknown} value */
export const shownValue = (name, value) => (name === "scale" ? `${shown(value)}×` : shown(value));

/** A few values of a parameter that are worth a look beside each other. @param {string} name @returns {unknown[]} */
export function valuesOf(name) {
  const param = scenes.params()[name];
  const counts = scenes.value("tuning") === "custom" || !OWN_FINISH.has(name);
  if (!param || !counts || UNSEEN.has(name)) return [];
  const [least, most] = [param.minimum ?? 0, param.maximum ?? 1];
  if (name === "scale") return SIZES.filter((size) => size >= least && size <= most);
  if (param.enum) return param.enum.slice(0, TRIES);
  if (param.type === "boolean") return [false, true];
  if (param.type !== "number" && param.type !== "integer") return [];
  const step = param.type === "integer" ? 1 : (most - least) / STEPS;
  const even = Array.from({ length: TRIES }, (_, i) => least + ((most - least) * i) / (TRIES - 1));
  return [...new Set(even.map((value) => (step === 1 ? Math.round(value) : round(value, step))))];
}

/** Sizes as buttons; nothing for a scene that keeps the photo's own. @param {string} [legend] */
export function sizes(legend = t("size")) {
  const param = scenes.params().scale;
  if (!param) return nothing;
  const offered = SIZES.filter((size) => size >= (param.minimum ?? 1) && size <= (param.maximum ?? 4));
  return html`
    <fieldset class="pills"><legend>${legend}</legend>
      ${offered.map((size) => html`
        <label><input type="radio" name="scale" .checked=${scenes.value("scale") === size}
          @change=${() => scenes.set("scale", size)}><span>${size}×</span></label>`)}
    </fieldset>`;
}

/** Everything else that can be set, one below another. */
export function controls() {
  const own = scenes.value("tuning") === "custom";
  const params = Object.entries(scenes.params()).filter(([name]) => !APART.has(name) && (own || !OWN_FINISH.has(name)));
  return params.map(([name, param]) => control(name, param));
}

/** Whether there is anything to fine-tune. */
export const hasControls = () => Object.keys(scenes.params()).some((name) => !APART.has(name));

/** @param {string} name @param {Param} param */
function control(name, param) {
  if (param.enum) return choice(name, param, param.enum);
  if (param.type === "boolean") return choice(name, param, [false, true]);
  if (param.type === "number" || param.type === "integer") return range(name, param);
  return nothing;
}

/** @param {string} name @param {Param} param */
function range(name, param) {
  const [least, most] = [param.minimum ?? 0, param.maximum ?? 1];
  const step = param.type === "integer" ? 1 : (most - least) / STEPS;
  const value = scenes.value(name);
  return html`
    <label class="setting ${name in scenes.values ? "changed" : ""}">
      <span><b>${label(name)}</b><output>${shown(value)}</output></span>
      <input type="range" min=${least} max=${most} step=${step} .value=${String(value)} aria-label=${label(name)}
        @change=${(/** @type {Event} */ event) => scenes.set(name, round(/** @type {HTMLInputElement} */ (event.target).valueAsNumber, step))}>
      <small>${hint(name, param)} ${t("set.usual", shown(param.default))}</small>
    </label>`;
}

/** @param {string} name @param {Param} param @param {unknown[]} values */
function choice(name, param, values) {
  return html`
    <fieldset class="setting ${name in scenes.values ? "changed" : ""}">
      <legend>${label(name)}</legend>
      <span class="chips">${values.map((value) => html`
        <button type="button" class="chip" aria-pressed=${scenes.value(name) === value}
          @click=${() => scenes.set(name, value)}>${word(value)}</button>`)}</span>
      <small>${hint(name, param)}</small>
    </fieldset>`;
}

/** Without the noise of binary fractions. @param {number} value @param {number} step */
const round = (value, step) => (step === 1 ? value : Number(value.toFixed(3)));
