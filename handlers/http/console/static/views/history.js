// @ts-check
// A contact sheet: frames on film, day by day, newest first.
import { LitElement, html, nothing, repeat } from "../vendor/lit.js";
import { get, picture, said, sentence } from "../api.js";
import { icon } from "../parts/icons.js";
import { date, t } from "../parts/words.js";
import { scenes, title } from "../scenes.js";

const PAGE = 60;
const CALM_MS = 300;
/** Filter → the statuses that it asks for. */
const FILTERS = /** @type {const} */ ({ all: [""], ok: ["success"], run: ["processing", "queued"], bad: ["failed", "rejected"] });
const SPANS = { "": 0, week: 7, month: 31, year: 366 };
const DAY_MS = 86_400_000;

/** @typedef {{ task_id: string | null, upload_id: string, upload_time: string, status: string, image_filename: string | null,
 *   workflow_type: string | null, sha256: string | null, error_code: string | null, error_detail: string | null }} Row */

class History extends LitElement {
  static properties = {
    language: {}, first: {}, choosing: { state: true }, operator: { type: Boolean }, rows: { state: true }, filter: { state: true }, workflow: { state: true },
    span: { state: true }, search: { state: true }, busy: { state: true }, problem: { state: true },
  };

  constructor() {
    super();
    this.language = "";
    this.operator = false;
    /** The task of the first of two results that are to be compared; empty: none was chosen. */
    this.first = "";
    /** Whether two results are being chosen. */
    this.choosing = false;
    /** @type {Row[]} */
    this.rows = [];
    /** Status → the cursor of its next page; null: there is none. @type {Map<string, string | null>} */
    this.cursors = new Map();
    /** @type {keyof typeof FILTERS} */
    this.filter = "all";
    this.workflow = "";
    /** @type {keyof typeof SPANS} */
    this.span = "";
    this.search = "";
    this.busy = false;
    this.problem = "";
    this.asked = 0;
    this.timer = 0;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#begin();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("first") && this.first) this.choosing = true;
  }

  /** The original of the first result; empty while none is chosen, null while its row is not there. */
  get #original() {
    return this.first ? (this.rows.find((row) => row.task_id === this.first)?.sha256 ?? null) : "";
  }

  /** @param {Row} row */
  #choose(row) {
    const task = row.task_id ?? "";
    if (this.first === task) this.first = "";
    else if (this.first) location.hash = `#/pair/${this.first}/${task}`;
    else this.first = task;
  }

  /** @param {Partial<History>} [changes] */
  #begin(changes = {}) {
    Object.assign(this, changes, { rows: [] });
    this.cursors = new Map(FILTERS[this.filter].map((status) => [status, ""]));
    this.#more();
  }

  async #more() {
    const mine = ++this.asked;
    this.busy = true;
    this.problem = "";
    try {
      const pages = await Promise.all([...this.cursors].filter(([, cursor]) => cursor !== null).map(([status, cursor]) => this.#page(status, cursor ?? "")));
      // Another filter may have been chosen meanwhile.
      if (mine !== this.asked) return;
      const rows = [...this.rows, ...pages.flatMap((page) => page.items)];
      this.rows = rows.sort((a, b) => b.upload_time.localeCompare(a.upload_time));
      for (const { status, next } of pages) this.cursors.set(status, next);
    } catch (error) {
      if (mine === this.asked) this.problem = said(error);
    }
    if (mine === this.asked) this.busy = false;
  }

  /** @param {string} status @param {string} cursor @returns {Promise<{ items: Row[], next: string | null, status: string }>} */
  async #page(status, cursor) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (status) query.set("status", status);
    if (cursor) query.set("cursor", cursor);
    if (this.workflow) query.set("workflow", this.workflow);
    if (SPANS[this.span]) query.set("since", new Date(Date.now() - SPANS[this.span] * DAY_MS).toISOString());
    return { ...(await get(`/tasks?${query}`)), status };
  }

  get #found() {
    const wanted = this.search.trim().toLocaleLowerCase();
    return wanted ? this.rows.filter((row) => (row.image_filename ?? "").toLocaleLowerCase().includes(wanted)) : this.rows;
  }

  /** @param {Event} event */
  #typed(event) {
    const text = /** @type {HTMLInputElement} */ (event.target).value;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.search = text), CALM_MS);
  }

  render() {
    const found = this.#found;
    const more = [...this.cursors.values()].some((cursor) => cursor);
    return html`
      <header class="head">
        <div><h1 tabindex="-1">${t("his.title")}</h1><p class="sub">${t(this.operator ? "his.sub.all" : "his.sub")}</p></div>
        ${this.#filters()}
      </header>
      ${this.choosing ? html`<p class="banner" role="status">${icon("columns-2")}<span>${t(this.first ? "pair.second" : "pair.first")}</span>
        <button @click=${() => Object.assign(this, { choosing: false, first: "" })}>${t("sheet.close")}</button></p>` : nothing}
      ${this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span>
        <button @click=${() => this.#more()}>${t("net.again")}</button></p>` : nothing}
      ${[...byDay(found)].map(([day, rows]) => html`
        <section aria-label=${day}><h2 class="day">${day}</h2>
          <div class="sheet">${repeat(rows, (row) => row.upload_id, (row, i) => this.#frame(row, i))}</div></section>`)}
      ${!found.length && !this.busy && !this.problem ? this.#empty() : nothing}
      <p class="acts more" role="status">
        ${this.busy ? html`<span class="spinner" aria-hidden="true"></span>${t("his.busy")}` : nothing}
        ${more && !this.busy ? html`<button @click=${() => this.#more()}>${t("his.more")}</button>` : nothing}
      </p>`;
  }

  #filters() {
    const filters = /** @type {(keyof typeof FILTERS)[]} */ (Object.keys(FILTERS));
    return html`
      <div class="filters">
        <label class="search">${icon("search")}<input type="search" placeholder=${t("his.search")} aria-label=${t("his.search")} @input=${this.#typed}></label>
        <span class="chips">${filters.map((name) => html`
          <button class="chip" aria-pressed=${this.filter === name} @click=${() => this.#begin({ filter: name })}>${t(`his.${name}`)}</button>`)}</span>
        <select aria-label=${t("his.anyscene")} @change=${(/** @type {Event} */ event) => this.#begin({ workflow: /** @type {HTMLSelectElement} */ (event.target).value })}>
          <option value="">${t("his.anyscene")}</option>
          ${scenes.offers.map((offer) => html`<option value=${offer.name}>${title(offer.name)}</option>`)}
        </select>
        <select aria-label=${t("his.anytime")} @change=${(/** @type {Event} */ event) => this.#begin({ span: /** @type {any} */ (event.target).value })}>
          <option value="">${t("his.anytime")}</option>
          ${["week", "month", "year"].map((span) => html`<option value=${span}>${t(`his.${span}`)}</option>`)}
        </select>
        <button aria-pressed=${this.choosing} @click=${() => Object.assign(this, { choosing: !this.choosing, first: "" })}>${icon("columns-2")}${t("pair.choose")}</button>
        <a class="button" href="#/batches">${icon("archive")}${t("bat.title")}</a>
      </div>`;
  }

  /** @param {Row} row @param {number} i */
  #frame(row, i) {
    const ended = row.status === "success" || row.status === "duplicate";
    const failed = row.status === "failed" || row.status === "rejected";
    const name = row.image_filename ?? t("his.erased");
    const why = row.error_code ? sentence(row.error_code, row.error_detail ?? "") : "";
    const inside = html`
      <span class="edge" aria-hidden="true"><i>${i + 1}</i><i>DARKROOM 400</i><i>${i + 1}A</i></span>
      <span class="pic">${ended ? html`<img src=${picture(row.task_id ?? "", "preview")} crossorigin="anonymous" loading="lazy" alt=""
        @error=${(/** @type {Event} */ event) => /** @type {HTMLElement} */ (event.target).remove()}>` : nothing}
        ${why ? html`<small>${why}</small>` : nothing}</span>
      <span class="edge foot"><b>${name}</b><i>${row.workflow_type ? title(row.workflow_type) : ""}</i></span>
      ${failed ? html`<em class="state">${icon("triangle-alert")}${t("his.bad")}</em>` : nothing}
      ${!failed && !ended ? html`<em class="state">${icon("clock")}${t("his.run")}</em>` : nothing}`;
    const kind = failed ? "bad" : ended ? "ok" : "run";
    if (this.choosing) {
      const original = this.#original;
      const fits = ended && row.sha256 !== null && (original === "" || original === row.sha256);
      return html`<button class="frame ${kind}" aria-pressed=${row.task_id === this.first} ?disabled=${!fits} @click=${() => this.#choose(row)}>${inside}</button>`;
    }
    return row.task_id
      ? html`<a class="frame ${kind}" href="#/look/task/${row.task_id}" title=${why || name}>${inside}</a>`
      : html`<div class="frame ${kind}" title=${why}>${inside}</div>`;
  }

  #empty() {
    return html`
      <section class="card empty">
        <svg viewBox="0 0 190 74" aria-hidden="true"><path d="M4 12Q95 34 186 8"/><rect x="30" y="24" width="34" height="42"/><rect x="78" y="28" width="34" height="42"/><rect x="126" y="23" width="34" height="42"/></svg>
        <h2>${t("his.empty")}</h2><p class="sub">${t("his.empty.s")}</p>
        <p class="acts"><a class="button main" href="#/">${icon("image-plus")}${t("nav.restore")}</a></p>
      </section>`;
  }
}
customElements.define("dr-history", History);

/** @param {Row[]} rows @returns {Map<string, Row[]>} */
function byDay(rows) {
  /** @type {Map<string, Row[]>} */
  const days = new Map();
  for (const row of rows) {
    const day = dayOf(row.upload_time);
    days.set(day, [...(days.get(day) ?? []), row]);
  }
  return days;
}

/** @param {string} when */
function dayOf(when) {
  const [then, now] = [new Date(when), new Date()];
  if (then.toDateString() === now.toDateString()) return t("his.today");
  /** @type {Intl.DateTimeFormatOptions} */
  const how = { weekday: "long", day: "numeric", month: "long" };
  return date(then, then.getFullYear() === now.getFullYear() ? how : { ...how, year: "numeric" });
}
