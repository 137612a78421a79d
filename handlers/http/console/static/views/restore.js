// @ts-check
// Bring photos, say what is in them, and watch them come back.
import { LitElement, html, nothing, repeat } from "../vendor/lit.js";
import { batchesOf, timeOf } from "../batch.js";
import { icon } from "../parts/icons.js";
import { controls, hasControls, sizes } from "../parts/settings.js";
import { bytes, seconds, t } from "../parts/words.js";
import { photos } from "../photos.js";
import { about, pictureOf, scenes, title, why } from "../scenes.js";
import { picture } from "../api.js";

/** @typedef {import("../photos.js").Photo} Photo */

/** @param {string} name */
const drawn = (name) => new URL(`../pictures/${name}.webp`, import.meta.url).pathname;
/** Rows that are shown at first, and how many more at a time. */
const SHOWN_AT_FIRST = 40;
const SHOWN_MORE = 100;

class Restore extends LitElement {
  static properties = { language: {}, dragging: { state: true }, tuning: { state: true }, shown: { state: true } };

  constructor() {
    super();
    this.language = "";
    this.dragging = false;
    this.tuning = false;
    this.shown = SHOWN_AT_FIRST;
    this.redraw = () => this.requestUpdate();
    this.pasted = (/** @type {ClipboardEvent} */ event) => this.#take(event.clipboardData);
    this.over = (/** @type {DragEvent} */ event) => this.#over(event);
    this.left = (/** @type {DragEvent} */ event) => (this.dragging = event.relatedTarget !== null && this.dragging);
    this.dropped = (/** @type {DragEvent} */ event) => this.#drop(event);
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    photos.addEventListener("change", this.redraw);
    scenes.addEventListener("change", this.redraw);
    addEventListener("paste", this.pasted);
    addEventListener("dragover", this.over);
    addEventListener("dragleave", this.left);
    addEventListener("drop", this.dropped);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    photos.removeEventListener("change", this.redraw);
    scenes.removeEventListener("change", this.redraw);
    removeEventListener("paste", this.pasted);
    removeEventListener("dragover", this.over);
    removeEventListener("dragleave", this.left);
    removeEventListener("drop", this.dropped);
  }

  /** @param {DragEvent} event */
  #over(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    this.dragging = true;
  }

  /** @param {DragEvent} event */
  async #drop(event) {
    event.preventDefault();
    this.dragging = false;
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.());
    if (entries.some((entry) => entry?.isDirectory)) photos.add(await filesOf(entries));
    else this.#take(event.dataTransfer);
  }

  /** @param {DataTransfer | null} given */
  #take(given) {
    if (given?.files.length) photos.add(given.files);
  }

  /** @param {Event} event */
  #chosen(event) {
    const input = /** @type {HTMLInputElement} */ (event.target);
    photos.add(input.files ?? []);
    // The same file can be chosen again.
    input.value = "";
  }

  /** @param {string} id */
  #open(id) {
    /** @type {HTMLInputElement} */ (this.querySelector(`#${id}`)).click();
  }

  get #held() {
    return photos.list.filter((photo) => photo.state === "held");
  }

  render() {
    return html`
      ${this.#invitation()}
      <div class="columns ${photos.list.length ? "" : "alone"}">
        ${this.#scenes()}
        ${photos.list.length ? this.#line() : nothing}
      </div>
      ${this.dragging ? html`<div class="landing" aria-hidden="true"><p>${icon("image-plus")}${t("drop.now")}</p></div>` : nothing}`;
  }

  #invitation() {
    return html`
      <section class="drop" aria-labelledby="drop">
        <div class="words">
          <h1 id="drop" tabindex="-1"><span class="desk">${t("drop.title")}</span><span class="hand">${t("drop.title.hand")}</span></h1>
          <p><span class="desk">${t("drop.sub")}</span><span class="hand">${t("drop.sub.hand")}</span></p>
          <p class="acts">
            <button class="main" @click=${() => this.#open("files")}>${icon("image-plus")}${t("drop.choose")}</button>
            <button class="desk" @click=${() => this.#open("folder")}>${icon("folder-open")}${t("drop.folder")}</button>
            <button class="hand" @click=${() => this.#open("camera")}>${icon("camera")}${t("drop.camera")}</button>
          </p>
          <small>${t("drop.limits", bytes(photos.maxBytes))}</small>
          <input id="files" type="file" accept=${photos.suffixes.join(",")} multiple hidden aria-label=${t("drop.choose")} @change=${this.#chosen}>
          <input id="folder" type="file" webkitdirectory hidden aria-label=${t("drop.folder")} @change=${this.#chosen}>
          <input id="camera" type="file" accept="image/*" capture="environment" hidden aria-label=${t("drop.camera")} @change=${this.#chosen}>
        </div>
        <div class="rope" aria-hidden="true">
          <svg viewBox="0 0 460 60" preserveAspectRatio="none"><path d="M0 8Q230 74 460 4"/></svg>
          <i class="print p1"><img src=${drawn("auto-before")} alt=""></i>
          <i class="print p2"><img src=${drawn("fast-after")} alt=""></i>
          <i class="print p3"><img src=${drawn("auto-after")} alt=""></i>
        </div>
      </section>`;
  }

  #scenes() {
    return html`
      <section class="card" aria-labelledby="scene">
        <h2 id="scene">${t("scene.title")}</h2><p class="sub">${t("scene.sub")}</p>
        <div class="scenes" role="radiogroup" aria-labelledby="scene">${scenes.offers.map((offer) => this.#scene(offer))}</div>
        <div class="sizes">
          ${sizes()}
          ${hasControls() ? html`<button class="quiet" aria-expanded=${this.tuning} @click=${() => (this.tuning = !this.tuning)}>
            ${icon("chevron-down")}${t("tune")}</button>` : nothing}
          <span class="go">${this.#go()}</span>
        </div>
        ${this.tuning ? html`<div class="tuning">${controls()}
          <p><button class="quiet" @click=${() => scenes.reset()}>${t("set.reset")}</button></p></div>` : nothing}
      </section>`;
  }

  /** @param {import("../scenes.js").Offer} offer */
  #scene(offer) {
    const name = pictureOf(offer.name);
    return html`
      <label class="scene">
        <input type="radio" name="scene" value=${offer.name} .checked=${offer.name === scenes.chosen}
          ?disabled=${!offer.available} @change=${() => scenes.choose(offer.name)}>
        <span class="pair"><img src=${drawn(`${name}-before`)} alt=""><img src=${drawn(`${name}-after`)} alt=""></span>
        <b>${title(offer.name)}</b><small>${offer.available ? about(offer) : why(offer)}</small>
      </label>`;
  }

  #go() {
    const held = this.#held;
    const first = held[0];
    return html`
      <small>${first ? t("start.note") : t("start.none")}</small>
      <button ?disabled=${!first} @click=${() => this.#startAll()}>${held.length > 1 ? t("start.all", held.length) : t("start.one")}</button>
      <button class="main" ?disabled=${!first} @click=${() => (location.hash = `#/look/${first.ticket}`)}>${t("start.preview")}</button>`;
  }

  async #startAll() {
    await photos.start(this.#held, scenes.chosen, scenes.shared);
  }

  #line() {
    const list = photos.list;
    const done = list.filter((photo) => photo.state === "success").length;
    const failed = list.some((photo) => photo.state === "failed");
    const sum = t("queue.sum", done, list.length);
    const shown = list.slice(0, this.shown);
    const more = Math.min(SHOWN_MORE, list.length - shown.length);
    return html`
      <section class="card line" aria-labelledby="queue">
        <header><h2 id="queue">${t("queue.title")}</h2>
          ${failed ? html`<button class="quiet" @click=${() => photos.retryFailed()}>${icon("rotate-ccw")}${t("queue.retry")}</button>` : nothing}
          ${!failed && done ? html`<button class="quiet" @click=${() => photos.clearEnded()}>${icon("check")}${t("queue.clear")}</button>` : nothing}
        </header>
        <p class="sub" role="status">${sum}</p>
        ${batchesOf(list).map(({ job, batch }) => html`<p class="sub"><a href="#/batches/${job}">${t("queue.batch", timeOf(batch))}</a></p>`)}
        <progress class="whole" max=${list.length} value=${list.reduce((total, photo) => total + progressOf(photo), 0)} aria-label=${sum}></progress>
        <ul class="photos">${repeat(shown, (photo) => photo.key, (photo) => this.#row(photo))}</ul>
        ${more ? html`<button @click=${() => (this.shown += SHOWN_MORE)}>${t("queue.more", more)}</button>` : nothing}
      </section>`;
  }

  /** @param {Photo} photo */
  #row(photo) {
    const moving = ["sending", "lost", "paused", "processing"].includes(photo.state);
    return html`
      <li class="photo ${photo.state}">
        ${thumb(photo)}
        <div><b title=${photo.name}>${photo.name}</b><small>${words(photo)}</small>
          ${moving ? html`<progress max="1" value=${photo.share} aria-label=${photo.name}></progress>` : nothing}</div>
        <span class="acts">${this.#acts(photo)}</span>
      </li>`;
  }

  /** @param {Photo} photo */
  #acts(photo) {
    const away = this.#small("x", t("q.away", photo.name), () => photos.drop(photo));
    switch (photo.state) {
      case "success":
        return html`<a class="button" href="#/look/${photo.ticket}">${t("q.compare")}</a>`;
      case "held":
        return html`<a class="button" href="#/look/${photo.ticket}">${t("q.preview")}</a>${away}`;
      case "sending":
        return html`${this.#small("pause", t("q.pause", photo.name), () => photos.pause(photo))}${away}`;
      case "paused":
        return html`${this.#small("play", t("q.resume", photo.name), () => photos.resume(photo))}${away}`;
      case "lost":
      case "failed":
        return html`${this.#small("rotate-ccw", t("q.retry", photo.name), () => photos.retry(photo))}${away}`;
      case "missing":
        return html`<button @click=${() => this.#open("files")}>${t("q.again")}</button>${away}`;
      default:
        return away;
    }
  }

  /** @param {string} drawing @param {string} label @param {() => unknown} act */
  #small(drawing, label, act) {
    return html`<button class="quiet round" aria-label=${label} title=${label} @click=${act}>${icon(drawing)}</button>`;
  }
}
customElements.define("dr-restore", Restore);

/** @param {Photo} photo */
function thumb(photo) {
  if (photo.thumb) return html`<img src=${photo.thumb} alt="">`;
  if (photo.state === "success" && photo.task) return html`<img src=${picture(photo.task, "preview")} crossorigin="anonymous" alt="" loading="lazy">`;
  return html`<span class="no-picture" aria-hidden="true">${icon("image-plus")}</span>`;
}

/** How far a photo is on its whole way, from 0 to 1. @param {Photo} photo */
function progressOf(photo) {
  const { state, share } = photo;
  if (state === "success" || state === "refused") return 1;
  if (state === "processing") return 0.4 + share * 0.6;
  return ["held", "queued", "arrived"].includes(state) ? 0.4 : share * 0.4;
}

/** @param {Photo} photo */
function words(photo) {
  switch (photo.state) {
    case "ready": return t("q.ready");
    case "sending": return t("q.sending", bytes(photo.share * photo.size), bytes(photo.size));
    case "paused": return t("q.paused", Math.round(photo.share * 100));
    case "missing": return t("q.missing");
    case "arrived": return t("q.arrived");
    case "held": return photo.why || t("q.held");
    case "queued": return t("q.queued");
    case "processing": return t("q.working", Math.round(photo.share * 100));
    case "success": return photo.tookS ? t("q.done", seconds(photo.tookS)) : t("q.restored");
    default: return photo.why;
  }
}

/** All files of folders that were dropped. @param {(FileSystemEntry | null | undefined)[]} entries @returns {Promise<File[]>} */
async function filesOf(entries) {
  const found = [];
  for (const entry of entries) {
    if (!entry) continue;
    if (entry.isFile) found.push(await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)));
    else found.push(...(await filesOf(await entriesOf(/** @type {FileSystemDirectoryEntry} */ (entry)))));
  }
  return /** @type {File[]} */ (found);
}

/** A folder tells its entries a hundred at a time. @param {FileSystemDirectoryEntry} folder */
async function entriesOf(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const all = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}
