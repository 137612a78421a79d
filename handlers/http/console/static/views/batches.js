// @ts-check
// Albums, archives and other jobs of many photos: how far each is, what failed, and everything that came out of it.
import { LitElement, html, nothing, repeat } from "../vendor/lit.js";
import { get, post, said, sentence } from "../api.js";
import { titleOf } from "../batch.js";
import { icon } from "../parts/icons.js";
import { date, number, t } from "../parts/words.js";
import { title } from "../scenes.js";

const PAGE = 100;
const POLL_MS = 5000;
/** Filter → the status that it asks for. */
const FILTERS = /** @type {const} */ ({ all: "", ok: "success", run: "queued", bad: "failed" });

/** @typedef {{ job: string, name: string, workflow: string, begun_at: string }} Job */
/** @typedef {Job & { counts: Record<string, number>, sent: number, sent_at: string | null, unsent: number, skipped: number, finished: boolean }} State */
/** @typedef {import("./history.js").Row} Row */

class Batches extends LitElement {
  static properties = {
    job: {}, language: {}, jobs: { state: true }, state: { state: true }, rows: { state: true }, filter: { state: true },
    retried: { state: true }, problem: { state: true },
  };

  constructor() {
    super();
    /** The job that is shown; empty: all of them. */
    this.job = "";
    this.language = "";
    /** @type {Job[]} */
    this.jobs = [];
    /** @type {State | null} */
    this.state = null;
    /** @type {Row[]} */
    this.rows = [];
    /** Where the next page begins; null: there is none. @type {string | null} */
    this.next = null;
    /** @type {keyof typeof FILTERS} */
    this.filter = "all";
    /** How many failed photos were begun anew; -1: nobody asked. */
    this.retried = -1;
    this.problem = "";
    this.timer = 0;
  }

  createRenderRoot() {
    return this;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearTimeout(this.timer);
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("job")) this.#open();
  }

  #open() {
    clearTimeout(this.timer);
    Object.assign(this, { jobs: [], state: null, rows: [], next: null, filter: "all", retried: -1, problem: "" });
    if (this.job) this.#watch();
    else this.#list("");
  }

  /** Whatever fails is said, and costs the page nothing. @param {() => Promise<void>} act */
  async #trying(act) {
    const mine = this.job;
    try {
      await act();
    } catch (error) {
      if (mine === this.job) this.problem = said(error);
    }
  }

  /** @param {string} cursor */
  #list(cursor) {
    return this.#trying(async () => {
      const page = await get(`/ingests?limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
      this.jobs = [...this.jobs, ...page.items];
      this.next = page.next;
    });
  }

  /** Ask until all has ended. */
  async #watch() {
    const mine = this.job;
    await this.#trying(async () => {
      const state = await get(`/ingests/${mine}`);
      if (mine !== this.job) return;
      const moved = JSON.stringify(state.counts) !== JSON.stringify(this.state?.counts);
      this.state = state;
      // Whoever reads further down is not thrown back to the top.
      if (moved && this.rows.length <= PAGE) await this.#begin(this.filter);
    });
    if (mine === this.job && this.isConnected && !this.state?.finished) this.timer = setTimeout(() => this.#watch(), POLL_MS);
  }

  /** @param {keyof typeof FILTERS} filter */
  #begin(filter) {
    this.filter = filter;
    return this.#more([], "");
  }

  /** @param {Row[]} before @param {string | null} cursor */
  #more(before = this.rows, cursor = this.next) {
    const [mine, filter] = [this.job, this.filter];
    return this.#trying(async () => {
      const page = await this.#page(FILTERS[filter], cursor ?? "");
      if (mine !== this.job || filter !== this.filter) return;
      this.rows = [...before, ...page.items];
      this.next = page.next;
    });
  }

  /** @param {string} status @param {string} cursor @returns {Promise<{ items: Row[], next: string | null }>} */
  #page(status, cursor) {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (status) query.set("status", status);
    if (cursor) query.set("cursor", cursor);
    return get(`/ingests/${this.job}/items?${query}`);
  }

  /** Begin every failed photo anew, page by page. */
  async #retryFailed() {
    this.retried = 0;
    await this.#trying(async () => {
      /** @type {string | null} */
      let cursor = "";
      while (cursor !== null) {
        const page = await this.#page("failed", cursor);
        for (const row of page.items) {
          if (!row.task_id) continue;
          await post(`/tasks/${row.task_id}/retry`, {});
          this.retried++;
        }
        cursor = page.next;
      }
    });
    clearTimeout(this.timer);
    await this.#watch();
    // The audit log is seconds late: what was finished a moment ago may not be any more.
    if (this.state?.finished) this.timer = setTimeout(() => this.#watch(), POLL_MS);
  }

  render() {
    const problem = this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span>
      <button @click=${() => this.#open()}>${t("net.again")}</button></p>` : nothing;
    return html`
      <header class="head"><div class="titled">
        <a class="button quiet round" href=${this.job ? "#/batches" : "#/history"} aria-label=${t("back")}>${icon("arrow-left")}</a>
        <div><h1 tabindex="-1">${this.job ? (this.state ? titleOf(this.state.name) : t("bat.one")) : t("bat.title")}</h1>
          <p class="sub">${this.state ? t("bat.of", title(this.state.workflow), began(this.state)) : t("bat.sub")}</p></div></div></header>
      ${problem}
      ${this.job ? this.#one() : this.#all()}`;
  }

  #all() {
    return html`
      <ul class="jobs">${repeat(this.jobs, (job) => job.job, (job) => html`
        <li class="card"><a href="#/batches/${job.job}"><b>${titleOf(job.name)}</b><small>${t("bat.of", title(job.workflow), began(job))}</small></a></li>`)}</ul>
      ${this.jobs.length || this.problem ? nothing : html`<p class="card sub">${t("bat.none")} <code>darkroom ingest album.zip</code></p>`}
      ${this.next ? html`<p class="acts more"><button @click=${() => this.#list(this.next ?? "")}>${t("his.more")}</button></p>` : nothing}`;
  }

  #one() {
    const state = this.state;
    if (!state) return nothing;
    const { counts } = state;
    const ended = sum(counts, "success", "duplicate", "failed", "rejected");
    const all = Math.max(state.sent, sum(counts, ...Object.keys(counts)));
    const [done, bad] = [sum(counts, "success", "duplicate"), sum(counts, "failed")];
    const text = t("queue.sum", number(ended), number(all));
    return html`
      <section class="card batch">
        <p class="sub" role="status">${state.finished ? t("bat.finished") : text}${this.retried < 0 ? nothing : html` ${t("bat.retried", number(this.retried))}`}</p>
        <progress class="whole" max=${Math.max(1, all)} value=${ended} aria-label=${text}></progress>
        <dl class="facts">
          ${fact("his.ok", done)}${fact("his.bad", bad)}${fact("bat.refused", sum(counts, "rejected"))}
          ${fact("op.waiting", all - ended)}${fact("bat.unsent", state.unsent)}${fact("bat.skipped", state.skipped)}
        </dl>
        <p class="acts">
          ${done ? html`<a class="button main" href="/v1/ingests/${state.job}/results" download>${icon("archive")}${t("bat.zip")}</a>` : nothing}
          <a class="button" href="#/report/job/${state.job}">${icon("file-text")}${t("bat.report")}</a>
          ${bad ? html`<button @click=${() => this.#retryFailed()}>${icon("rotate-ccw")}${t("queue.retry")}</button>` : nothing}
        </p>
      </section>
      ${this.#photos()}`;
  }

  #photos() {
    const filters = /** @type {(keyof typeof FILTERS)[]} */ (Object.keys(FILTERS));
    return html`
      <section class="card"><header><h2>${t("queue.title")}</h2>
        <span class="chips">${filters.map((name) => html`
          <button class="chip" aria-pressed=${this.filter === name} @click=${() => this.#begin(name)}>${t(`his.${name}`)}</button>`)}</span></header>
        <ul class="photos">${repeat(this.rows, (row) => row.upload_id, line)}</ul>
        ${this.next ? html`<p class="acts more"><button @click=${() => this.#more()}>${t("his.more")}</button></p>` : nothing}
      </section>`;
  }
}
customElements.define("dr-batches", Batches);

/** @param {Record<string, number>} counts @param {string[]} statuses */
const sum = (counts, ...statuses) => statuses.reduce((total, status) => total + (counts[status] ?? 0), 0);

/** @param {Job} job */
const began = (job) => date(job.begun_at, { dateStyle: "medium", timeStyle: "short" });

/** @param {string} name @param {number} value */
const fact = (name, value) => html`<div><dt>${t(name)}</dt><dd>${number(value)}</dd></div>`;

/** @param {Row} row */
function line(row) {
  const failed = row.status === "failed" || row.status === "rejected";
  const done = row.status === "success" || row.status === "duplicate";
  const words = failed ? sentence(row.error_code ?? "", row.error_detail ?? "") : t(done ? "his.ok" : "his.run");
  return html`
    <li class="photo plain ${failed ? "failed" : done ? "success" : ""}">
      <div><b>${row.image_filename ?? t("his.erased")}</b><small>${words}</small></div>
      <span class="acts">${done && row.task_id ? html`<a class="button" href="#/look/task/${row.task_id}">${t("q.compare")}</a>` : nothing}</span>
    </li>`;
}
