// @ts-check
// Before and after, and the settings beside them: a preview while one chooses, the result once it is there.
import { LitElement, html, nothing } from "../vendor/lit.js";
import { follow, get, picture, post, said, sentence } from "../api.js";
import { icon } from "../parts/icons.js";
import { controls, sizes } from "../parts/settings.js";
import { withMask } from "../masks.js";
import { bytes, number, seconds, t } from "../parts/words.js";
import { photos } from "../photos.js";
import { Preview, forPreview } from "../previews.js";
import { scenes, title } from "../scenes.js";
import "../parts/compare.js";
import "../parts/sheet.js";

/** A person who is still moving a slider wants no preview yet. */
const CALM_MS = 500;
/** Above, the browser would take too much memory for the whole result; the small preview is shown. */
const MOST_PIXELS = 60_000_000;
const POLL_MS = 1000;

class Look extends LitElement {
  static properties = { photo: {}, language: {}, record: { state: true }, trying: { state: true }, sheet: { state: true }, problem: { state: true } };

  constructor() {
    super();
    /** A ticket, or `task/` and the id of a task. */
    this.photo = "";
    this.language = "";
    /** The record of the result that is shown. @type {any} */
    this.record = null;
    /** Whether other settings are tried although there is a result. */
    this.trying = false;
    /** Whether several settings are shown beside each other. */
    this.sheet = false;
    this.problem = "";
    /** The row of a task that was opened from the history. @type {any} */
    this.row = null;
    /** A task that was started here for such a row. */
    this.task = "";
    /** The signature of such a task, how far it is, and what can be seen of it. */
    this.signature = "";
    this.progress = 0;
    /** @type {import("../api.js").Draft | null} */
    this.seen = null;
    this.unfollow = () => {};
    /** The task by which the original is cut into tiles: the first one that is known, as each would have its own. */
    this.tiled = "";
    this.preview = new Preview();
    this.local = "";
    this.timer = 0;
    this.poll = 0;
    this.redraw = () => this.#changed();
    this.chosen = () => this.#soon();
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    photos.addEventListener("change", this.redraw);
    scenes.addEventListener("change", this.chosen);
    this.preview.addEventListener("change", this.redraw);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    photos.removeEventListener("change", this.redraw);
    scenes.removeEventListener("change", this.chosen);
    this.preview.removeEventListener("change", this.redraw);
    this.#close();
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("photo")) this.#open();
  }

  #close() {
    this.preview.end();
    clearTimeout(this.timer);
    clearTimeout(this.poll);
    this.unfollow();
    if (this.local) URL.revokeObjectURL(this.local);
    this.local = "";
  }

  async #open() {
    this.#close();
    this.preview = new Preview();
    this.preview.addEventListener("change", this.redraw);
    this.tiled = "";
    Object.assign(this, { record: null, trying: false, sheet: false, problem: "", row: null, task: "", signature: "", progress: 0, seen: null });
    // Strokes belong to the photo on which they were drawn.
    if (scenes.values.mask) scenes.set("mask", scenes.params().mask?.default);
    const [kind, id] = this.photo.split("/");
    if (kind === "task") {
      this.task = id;
      await this.#loadTask();
      return;
    }
    const own = this.#own;
    if (own?.file) this.local = URL.createObjectURL(own.file);
    if (own?.state === "success") await this.#loadRecord(own.task);
    else this.#soon();
  }

  /** The photo among those brought here. */
  get #own() {
    return photos.list.find((photo) => photo.ticket === this.photo);
  }

  get #name() {
    return this.#own?.name ?? this.row?.image_filename ?? t("look.photo");
  }

  /** The photo, as requests name it. @returns {Record<string, string>} */
  get #source() {
    return this.photo.startsWith("task/") ? { task_id: this.photo.slice(5) } : { ticket: this.photo };
  }

  async #loadTask() {
    try {
      const found = await get(`/tasks/${this.task}`);
      this.row ??= found.uploads[0];
      if (found.status === "success" || found.status === "duplicate") await this.#loadRecord(this.task);
      else if (found.status === "failed" || found.status === "rejected") {
        const { error_code, error_detail } = found.uploads[0];
        this.problem = sentence(error_code, error_detail);
      } else this.poll = setTimeout(() => this.#loadTask(), POLL_MS);
    } catch (error) {
      this.problem = said(error);
    }
    this.requestUpdate();
  }

  /** @param {string} task */
  async #loadRecord(task) {
    try {
      const record = await get(`/tasks/${task}/record`);
      // Another photo may have been opened meanwhile.
      if (record.task_id === (this.#own?.task || this.task)) this.record = record;
    } catch (error) {
      this.problem = said(error);
    }
  }

  #changed() {
    const own = this.#own;
    if (own?.state === "success" && own.task && this.record?.task_id !== own.task && !this.trying) this.#loadRecord(own.task);
    this.requestUpdate();
  }

  /** Ask for a preview once the person is calm. */
  #soon() {
    this.requestUpdate();
    clearTimeout(this.timer);
    if (this.#isResult || this.#isWorking) return;
    this.timer = setTimeout(() => this.#ask(), this.preview.shown ? CALM_MS : 0);
  }

  get #image() {
    return /** @type {HTMLImageElement | null} */ (this.querySelector(".before img"));
  }

  /** The longer side of the photo as it is shown [px]. */
  get #side() {
    return Math.max(this.#image?.naturalWidth ?? 0, this.#image?.naturalHeight ?? 0);
  }

  async #ask() {
    const image = this.#image;
    const { values, chosen } = scenes;
    try {
      const params = forPreview(await withMask(values, image), this.#side);
      // More may have been painted meanwhile.
      if (scenes.values.mask === values.mask && scenes.chosen === chosen) this.preview.ask({ source: this.#source, workflow: chosen, params });
    } catch (error) {
      this.problem = said(error);
    }
  }

  get #isResult() {
    return this.record !== null && !this.trying;
  }

  get #isWorking() {
    const own = this.#own;
    return !this.trying && (own ? own.state === "queued" || own.state === "processing" : this.row !== null && !this.record && !this.problem);
  }

  async #restore() {
    this.trying = false;
    this.record = null;
    const own = this.#own;
    try {
      const params = await withMask(scenes.values, this.#image);
      if (own) {
        await photos.start([own], scenes.chosen, params);
        return;
      }
      const work = await post("/tasks", { ...this.#source, workflow: scenes.chosen, params, priority: "interactive" });
      Object.assign(this, { task: work.task_id, signature: work.signature, progress: 0, seen: null });
      this.#follow(work.task_id);
      await this.#loadTask();
    } catch (error) {
      this.problem = said(error);
    }
  }

  /** Hear how far a task is; that it has ended is asked for. @param {string} task */
  #follow(task) {
    this.unfollow();
    this.unfollow = follow(`/tasks/${task}/events`, (happening) => {
      if (happening.task_id !== this.task) return;
      this.progress = happening.progress ?? 0;
      this.seen = happening.draft ?? null;
      if (happening.status !== "queued" && happening.status !== "processing") this.unfollow();
      this.requestUpdate();
    });
  }

  async #restoreAll() {
    const held = photos.list.filter((photo) => photo.state === "held");
    await photos.start(held, scenes.chosen, scenes.shared);
    location.hash = "#/";
  }

  #try() {
    this.trying = true;
    this.problem = "";
    this.#soon();
  }

  get #original() {
    if (this.local) return this.local;
    const source = this.record?.source ?? this.row;
    if (source?.width * source?.height > MOST_PIXELS) return "";
    return this.#madeOf ? picture(this.#madeOf, "original") : "";
  }

  /** A task that was made of the original. */
  get #madeOf() {
    return this.record?.task_id || this.preview.shown?.task || this.#own?.task || this.task;
  }

  get #originalTiles() {
    return (this.tiled ||= this.#madeOf);
  }

  get #restoredTiles() {
    if (!this.#isResult) return "";
    const { task_id, width, height } = this.record;
    return width * height > MOST_PIXELS ? task_id : "";
  }

  /** What is done so far of the photo that is being restored; never what was made of it with other settings. */
  get #draft() {
    const { task, signature, draft } = this.#own ?? { task: this.task, signature: this.signature, draft: this.seen };
    if (!this.#isWorking || !draft || draft.signature !== signature) return "";
    return picture(task, `draft?number=${draft.number}`);
  }

  get #restored() {
    if (this.#draft) return "";
    if (!this.#isResult) return this.preview.shown?.url ?? "";
    const { task_id, width, height } = this.record;
    return picture(task_id, width * height > MOST_PIXELS ? "preview" : "result");
  }

  render() {
    return html`
      <div class="desk-of">
        <section class="view" aria-label="${t("before")} / ${t("after")}">
          <header>
            <a class="button quiet round" href=${this.photo.startsWith("task/") ? "#/history" : "#/"} aria-label=${t("back")}>${icon("arrow-left")}</a>
            <h1 tabindex="-1">${this.#name}</h1><small>${this.#dimensions()}</small>
          </header>
          <dr-compare .language=${this.language} .original=${this.#original} .restored=${this.#restored}
            .draft=${this.#draft} .originalTiles=${this.#originalTiles} .restoredTiles=${this.#restoredTiles} .alt=${this.#name} .strokes=${String(scenes.value("mask") ?? "")}
            .stale=${this.#stale} .share=${this.#share} .problem=${this.problem || (this.#isResult ? "" : this.preview.problem)}
            .brush=${!this.#isResult && "mask" in scenes.params()} @retry=${() => this.#retry()}
            @strokes=${(/** @type {CustomEvent} */ event) => scenes.set("mask", event.detail)}></dr-compare>
          ${this.sheet && !this.#isResult ? this.#sheet() : nothing}
          ${this.#strip()}
        </section>
        <aside class="card panel">${this.#isResult ? this.#result() : this.#settings()}</aside>
      </div>`;
  }

  #sheet() {
    return html`
      <section class="card beside" aria-labelledby="beside"><header><h2 id="beside">${t("sheet.title")}</h2>
        <button class="quiet" @click=${() => (this.sheet = false)}>${icon("x")}${t("sheet.close")}</button></header>
        <dr-sheet .language=${this.language} .source=${this.#source} .photo=${this.#image} .alt=${this.#name} @taken=${() => (this.sheet = false)}></dr-sheet>
      </section>`;
  }

  get #stale() {
    return this.#isWorking || (!this.#isResult && !this.problem && !this.preview.matches && !this.preview.problem);
  }

  get #share() {
    return this.#isWorking ? (this.#own?.share ?? this.progress) : this.preview.share;
  }

  #retry() {
    if (!this.problem) {
      this.#ask();
      return;
    }
    this.problem = "";
    const own = this.#own;
    if (own) photos.retry(own);
    else post(`/tasks/${this.task}/retry`, {}).then(() => this.#loadTask()).catch((error) => (this.problem = said(error)));
  }

  #dimensions() {
    const made = this.#isResult ? this.record : null;
    const source = made?.source ?? this.row;
    if (!source?.width) return nothing;
    const before = `${number(source.width)} × ${number(source.height)}`;
    return made ? `${before} → ${number(made.width)} × ${number(made.height)}` : before;
  }

  #strip() {
    const others = photos.list.filter((photo) => photo.isThere);
    if (others.length < 2 || this.photo.startsWith("task/")) return nothing;
    return html`<div class="strip">${others.slice(0, 60).map((photo) => html`
      <a href="#/look/${photo.ticket}" aria-current=${photo.ticket === this.photo} aria-label=${photo.name}>
        ${photo.thumb ? html`<img src=${photo.thumb} alt="">` : html`<span class="no-picture">${icon("image-plus")}</span>`}</a>`)}</div>`;
  }

  #settings() {
    const held = photos.list.filter((photo) => photo.state === "held").length;
    return html`
      <h2>${t("set.scene")}</h2>
      <p class="chips">${scenes.offers.filter((offer) => offer.available).map((offer) => html`
        <button class="chip" aria-pressed=${offer.name === scenes.chosen} @click=${() => scenes.choose(offer.name)}>${title(offer.name)}</button>`)}</p>
      <header><h2>${t("set.params")}</h2>
        <button class="quiet" aria-expanded=${this.sheet} @click=${() => (this.sheet = !this.sheet)}>${icon("columns-2")}${t("sheet.open")}</button>
        ${Object.keys(scenes.values).length ? html`<button class="quiet" @click=${() => scenes.reset()}>${t("set.reset")}</button>` : nothing}</header>
      ${sizes(t("set.scale"))}
      ${controls()}
      ${this.#match()}
      <div class="submit">
        <button class="main big" ?disabled=${!this.preview.matches || this.#isWorking} @click=${() => this.#restore()}>
          ${this.#isWorking ? html`<span class="spinner" aria-hidden="true"></span>` : nothing}${t("set.submit")}</button>
        ${held > 1 ? html`<button @click=${() => this.#restoreAll()}>${t("set.all", held)}</button>` : nothing}
      </div>`;
  }

  #match() {
    const { shown, matches, signature } = this.preview;
    if (matches) return html`<p class="match" role="status">${icon("check")}<span>${t("set.match")}<code>${signature}</code></span></p>`;
    if (!shown) return nothing;
    const next = signature ? ` → ${signature.slice(0, 8)}` : "";
    return html`<p class="match stale" role="status">${icon("refresh-cw")}<span>${t("set.differs")}<code>${shown.signature.slice(0, 8)}${next}</code></span></p>`;
  }

  #result() {
    const record = this.record;
    const task = record.task_id;
    return html`
      <h2>${t("res.title")}</h2>
      <dl class="facts">
        <div><dt>${t("set.scene")}</dt><dd>${title(record.workflow.name)}</dd></div>
        <div><dt>${t("res.took")}</dt><dd>${seconds(record.duration_seconds)}</dd></div>
        <div><dt>${t("res.size")}</dt><dd>${bytes(record.result_bytes)}</dd></div>
        <div><dt>${t("res.pixels")}</dt><dd>${number((record.width * record.height) / 1e6)} MP</dd></div>
      </dl>
      ${record.notes?.length ? html`<ul class="notes">${record.notes.map((/** @type {string} */ note) => html`<li>${note}</li>`)}</ul>` : nothing}
      <p class="match" role="status">${icon("check")}<span>${t("res.signature")}<code>${record.workflow.signature}</code></span></p>
      <div class="submit">
        <a class="button main" href=${picture(task, "result?download=true")} download>${icon("download")}${t("res.download")}</a>
        ${(record.copies ?? []).map((/** @type {any} */ copy) => html`
          <a class="button" href=${picture(task, `copies/${copy.format}?download=true&labelled=${copy.labelled}`)} download>
            ${icon(copy.labelled ? "tag" : "download")}${t(copy.labelled ? "res.labelled" : "res.copy", copy.format.toUpperCase(), bytes(copy.bytes))}</a>`)}
        ${record.credentials ? html`
          <a class="button" href=${picture(task, "credentials?download=true")} download>${icon("stamp")}${t("res.credentials")}</a>` : nothing}
        <button @click=${() => this.#try()}>${icon("sparkles")}${t("res.again")}</button>
        <a class="button" href="#/history/with/${task}">${icon("columns-2")}${t("pair.from")}</a>
        <a class="button" href="#/report/${task}">${icon("file-text")}${t("rep.open")}</a>
        <small>${t("res.honest")}</small>
      </div>`;
  }
}
customElements.define("dr-look", Look);
