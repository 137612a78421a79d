// @ts-check
// What can be done to a photo, as the API offers it, with the words and the picture of each; and what the person chose.
import { get } from "./api.js";
import { has, spoken, t } from "./parts/words.js";

/** @typedef {{ type: string, default: unknown, minimum?: number, maximum?: number, enum?: unknown[], description?: string }} Param */
/** @typedef {{ name: string, titles: Record<string, string>, descriptions: Record<string, string>, available: boolean,
 *   unavailable: { because: string, command: string } | null, params_schema: { properties: Record<string, Param> } }} Offer */

/** In the order in which people are offered them; any other comes behind. */
const ORDER = ["auto", "oldphoto", "repair", "enhance", "portrait", "faces", "building", "denoise", "dehaze", "anime", "fast"];
/** Scene → the picture that stands for it. */
const PICTURES = new Set(ORDER);
const STORED = "choice";

class Scenes extends EventTarget {
  /** @type {Offer[]} */
  offers = [];
  chosen = "auto";
  /** Scene → the parameters that differ from its defaults. @type {Record<string, Record<string, unknown>>} */
  changed = {};

  async load() {
    const offers = await get("/workflows");
    this.offers = offers.sort((/** @type {Offer} */ a, /** @type {Offer} */ b) => place(a) - place(b));
    const stored = JSON.parse(localStorage.getItem(STORED) ?? "{}");
    this.changed = stored.changed ?? {};
    const wanted = this.offer(stored.chosen ?? "auto");
    this.chosen = wanted?.available ? wanted.name : (this.offers.find((offer) => offer.available)?.name ?? "auto");
    this.#tell();
  }

  /** @param {string} name */
  offer(name) {
    return this.offers.find((offer) => offer.name === name);
  }

  /** @param {string} name */
  choose(name) {
    this.chosen = name;
    this.#tell();
  }

  /** @param {string} name @param {unknown} value */
  set(name, value) {
    const usual = this.params()[name]?.default;
    const { [name]: _, ...others } = this.changed[this.chosen] ?? {};
    this.changed[this.chosen] = value === usual ? others : { ...others, [name]: value };
    this.#tell();
  }

  reset() {
    delete this.changed[this.chosen];
    this.#tell();
  }

  /** The chosen scene's parameters, with their types. @returns {Record<string, Param>} */
  params() {
    return this.offer(this.chosen)?.params_schema.properties ?? {};
  }

  /** What differs from the defaults, as requests have it. @returns {Record<string, unknown>} */
  get values() {
    return this.changed[this.chosen] ?? {};
  }

  /** The same for many photos: strokes of a brush belong to one of them. @returns {Record<string, unknown>} */
  get shared() {
    const { mask: _, ...others } = this.values;
    return others;
  }

  /** @param {string} name */
  value(name) {
    return this.values[name] ?? this.params()[name]?.default;
  }

  #tell() {
    localStorage.setItem(STORED, JSON.stringify({ chosen: this.chosen, changed: this.changed }));
    this.dispatchEvent(new Event("change"));
  }
}

/** What cannot be had here comes last. @param {Offer} offer */
const place = ({ name, available }) =>
  ((ORDER.indexOf(name) + ORDER.length + 1) % (ORDER.length + 1)) + (available ? 0 : 100);

/** A scene's title, in this page's words or else in the API's. @param {string} name */
export const title = (name) => (has(`scene.${name}`) ? t(`scene.${name}`) : (scenes.offer(name)?.titles[spoken()] ?? name));

/** @param {Offer} offer */
export const about = ({ name, descriptions }) => (has(`scene.${name}.s`) ? t(`scene.${name}.s`) : (descriptions[spoken()] ?? ""));

/** Why a scene cannot be had here. @param {Offer} offer */
export const why = ({ unavailable }) =>
  unavailable && spoken() === "en" ? t("scene.missing.why", unavailable.because) : t("scene.missing");

/** @param {string} name */
export const pictureOf = (name) => (PICTURES.has(name) ? name : "auto");

export const scenes = new Scenes();
