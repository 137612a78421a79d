// @ts-check
// One setting at several values, beside each other: a person sees what it does, and takes the one that is best.
import { LitElement, html, nothing } from "../vendor/lit.js";
import { get, picture, said, sentence } from "../api.js";
import { withMask } from "../masks.js";
import { forPreview, patiently, previewSide } from "../previews.js";
import { scenes } from "../scenes.js";
import { APART, label, shownValue, valuesOf } from "./settings.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

const POLL_MS = 700;

/** `task` and `signature`: empty until the preview was begun. `url`: empty until it is there.
 * @typedef {{ value: unknown, task: string, signature: string, url: string, problem: string }} Frame */

class Sheet extends LitElement {
  static properties = { language: {}, source: { attribute: false }, photo: { attribute: false }, alt: {}, name: { state: true }, frames: { state: true }, problem: { state: true } };

  constructor() {
    super();
    this.language = "";
    /** The photo, as requests name it. @type {Record<string, string>} */
    this.source = {};
    /** Its picture, as the page shows it. @type {HTMLImageElement | null} */
    this.photo = null;
    this.alt = "";
    /** The parameter that is tried. */
    this.name = "";
    /** @type {Frame[]} */
    this.frames = [];
    this.problem = "";
    /** The sheet that is wanted: an answer for an earlier one is dropped. */
    this.asked = 0;
    this.redraw = () => this.#choose(this.name);
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    scenes.addEventListener("change", this.redraw);
    this.#choose("");
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    scenes.removeEventListener("change", this.redraw);
    this.asked++;
  }

  /** What can be tried: whatever has more than one value. */
  get #names() {
    return Object.keys(scenes.params()).filter((name) => (name === "scale" || !APART.has(name)) && valuesOf(name).length > 1);
  }

  /** @param {string} name */
  #choose(name) {
    const names = this.#names;
    this.name = names.includes(name) ? name : (names[0] ?? "");
    this.frames = valuesOf(this.name).map((value) => ({ value, task: "", signature: "", url: "", problem: "" }));
    this.problem = "";
    if (this.name) this.#ask(++this.asked);
  }

  /** @param {number} mine */
  async #ask(mine) {
    const isWanted = () => mine === this.asked;
    const side = Math.max(this.photo?.naturalWidth ?? 0, this.photo?.naturalHeight ?? 0);
    try {
      const common = await withMask(scenes.values, this.photo);
      if (!isWanted()) return;
      const sets = this.frames.map((frame) => forPreview({ ...common, [this.name]: frame.value }, side));
      const request = { source: this.source, workflow: scenes.chosen, sets, max_px: previewSide(scenes.chosen) };
      const begun = await patiently(request, isWanted);
      if (!begun || !isWanted()) return;
      this.frames = this.frames.map((frame, i) => ({ ...frame, task: begun.previews[i].task_id, signature: begun.previews[i].signature }));
      await this.#follow(isWanted);
    } catch (error) {
      if (isWanted()) this.problem = said(error);
    }
  }

  /** Ask by and by: as many streams as frames would be more connections than a browser allows. @param {() => boolean} isWanted */
  async #follow(isWanted) {
    while (isWanted() && this.frames.some((frame) => !frame.url && !frame.problem)) {
      for (const frame of this.frames) {
        if (!frame.url && !frame.problem) await this.#look(frame);
        if (!isWanted()) return;
      }
      this.requestUpdate();
      await new Promise((go) => setTimeout(go, POLL_MS));
    }
  }

  /** @param {Frame} frame */
  async #look(frame) {
    const found = await get(`/tasks/${frame.task}`);
    if (found.status === "failed") {
      const { error_code, error_detail } = found.uploads[0];
      frame.problem = sentence(error_code, error_detail ?? "");
    } else if (found.status === "success") {
      const record = await get(`/tasks/${frame.task}/record`);
      const isIt = record.task_id === frame.task && record.workflow.signature === frame.signature;
      if (isIt) frame.url = picture(frame.task, "result");
      else frame.problem = t("cmp.other");
    }
  }

  /** @param {Frame} frame */
  #take(frame) {
    scenes.set(this.name, frame.value);
    this.dispatchEvent(new CustomEvent("taken"));
  }

  render() {
    const names = this.#names;
    if (!names.length) return html`<p class="card">${t("sheet.nothing")}</p>`;
    return html`
      <div class="chips" role="group" aria-label=${t("sheet.which")}>${names.map((name) => html`
        <button class="chip" aria-pressed=${name === this.name} @click=${() => this.#choose(name)}>${name === "scale" ? t("set.scale") : label(name)}</button>`)}</div>
      ${this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span>
        <button @click=${() => this.#choose(this.name)}>${t("set.retry")}</button></p>` : nothing}
      <ul class="tries">${this.frames.map((frame) => this.#frame(frame))}</ul>`;
  }

  /** @param {Frame} frame */
  #frame(frame) {
    const value = shownValue(this.name, frame.value);
    const isNow = scenes.value(this.name) === frame.value;
    return html`
      <li class=${isNow ? "now" : ""}>
        <div class="try">${frame.url ? html`<img src=${frame.url} crossorigin="anonymous" alt="${this.alt}: ${value}">`
          : frame.problem ? html`<p role="alert">${frame.problem}</p>` : html`<span class="spinner" role="img" aria-label=${t("cmp.first")}></span>`}</div>
        <p><b>${value}</b><button ?disabled=${!frame.url} aria-label=${t("sheet.take.of", value)} @click=${() => this.#take(frame)}>${t(isNow ? "sheet.now" : "sheet.take")}</button></p>
      </li>`;
  }
}
customElements.define("dr-sheet", Sheet);
