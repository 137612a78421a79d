// @ts-check
// A report on a sheet of paper: about one photo, or about a batch. The PDF that the server makes says the same.
import { LitElement, html, nothing } from "../vendor/lit.js";
import { file, get, picture, said, sentence } from "../api.js";
import { icon } from "../parts/icons.js";
import { bytes, date, has, number, seconds, spoken, t } from "../parts/words.js";
import { title } from "../scenes.js";

/** What browsers show; of larger originals they would take too much memory. */
const SHOWN = new Set(["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"]);
const MOST_PIXELS = 60_000_000;
const PAGE = 100;
/** Longest value of a setting: a brush's strokes may be thousands of characters. */
const MOST_VALUE = 160;
/** @type {Intl.DateTimeFormatOptions} */
const WHEN = { dateStyle: "medium", timeStyle: "medium" };
/** @type {Record<string, string>} */
const HAPPENINGS = { received: "rep.received", queued: "rep.queued", attempt: "rep.attempt", finished: "rep.finished" };

/** The word for a key, or else the name itself. @param {string} prefix @param {string} name */
const word = (prefix, name) => (has(`${prefix}.${name}`) ? t(`${prefix}.${name}`) : name);

/** @param {unknown} value */
function shown(value) {
  if (typeof value === "number") return number(value, 4);
  if (has(`value.${value}`)) return t(`value.${value}`);
  const text = typeof value === "object" ? JSON.stringify(value) : String(value ?? "");
  return text.length > MOST_VALUE ? `${text.slice(0, MOST_VALUE)} …` : text;
}

/** @param {Record<string, unknown>} figures */
const listed = (figures) => Object.entries(figures).map(([name, value]) => `${name} ${shown(value)}`).join(", ");

class Report extends LitElement {
  static properties = {
    of: {}, from: {}, language: {}, found: { state: true }, rows: { state: true }, next: { state: true },
    problem: { state: true }, busy: { state: true },
  };

  constructor() {
    super();
    /** The id of a task, or `job/` and that of a job. */
    this.of = "";
    /** Where the person came from. */
    this.from = "";
    this.language = "";
    /** The report, or the state of the job. @type {any} */
    this.found = null;
    /** The photos of a job. @type {any[]} */
    this.rows = [];
    /** @type {string | null} */
    this.next = null;
    this.problem = "";
    /** Whether the PDF is being made. */
    this.busy = false;
  }

  createRenderRoot() {
    return this;
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("of")) this.#open();
  }

  get #job() {
    return this.of.startsWith("job/") ? this.of.slice(4) : "";
  }

  get #path() {
    return this.#job ? `/ingests/${this.#job}` : `/tasks/${this.of}`;
  }

  async #open() {
    const asked = this.of;
    Object.assign(this, { found: null, rows: [], next: null, problem: "" });
    try {
      const found = await get(this.#job ? this.#path : `${this.#path}/report`);
      // Another report may have been opened meanwhile.
      if (asked !== this.of) return;
      this.found = found;
      if (this.#job) await this.#more();
    } catch (error) {
      if (asked === this.of) this.problem = said(error);
    }
  }

  async #more() {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this.next) query.set("cursor", this.next);
    const page = await get(`${this.#path}/items?${query}`);
    this.rows = [...this.rows, ...page.items];
    this.next = page.next;
  }

  async #save() {
    this.busy = true;
    this.problem = "";
    try {
      const { name, blob } = await file(`${this.#path}/report.pdf?lang=${spoken()}`);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      this.problem = said(error);
    }
    this.busy = false;
  }

  render() {
    return html`
      <p class="acts top"><a class="button quiet" href=${this.from || "#/history"}>${icon("arrow-left")}${t("back")}</a>
        ${this.found ? html`<span>${this.#buttons()}</span>` : nothing}</p>
      ${this.busy ? html`<p class="banner" role="status"><span class="spinner" aria-hidden="true"></span>${t("rep.making")}</p>` : nothing}
      ${this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span></p>` : nothing}
      ${this.found ? (this.#job ? this.#batch() : this.#photo()) : nothing}`;
  }

  #buttons() {
    const { result, copies = [], counts = {} } = this.found;
    return html`
      <button class="main" ?disabled=${this.busy} @click=${() => this.#save()}>${icon("printer")}${t("rep.pdf")}</button>
      ${result ? html`<a class="button" href=${picture(this.of, "result?download=true")} download>${icon("download")}${t("res.download")}</a>` : nothing}
      ${copies.map((/** @type {any} */ copy) => html`
        <a class="button" href=${picture(this.of, `copies/${copy.format}?download=true&labelled=${copy.labelled}`)} download>
          ${icon(copy.labelled ? "tag" : "download")}${t(copy.labelled ? "res.labelled" : "res.copy", copy.format.toUpperCase(), bytes(copy.bytes))}</a>`)}
      ${counts.success || counts.duplicate ? html`<a class="button" href="/v1/ingests/${this.#job}/results" download>${icon("archive")}${t("bat.zip")}</a>` : nothing}`;
  }

  /** @param {string} kicker @param {string} name @param {string} below @param {string} status @param {unknown} made */
  #head(kicker, name, below, status, made) {
    const good = status === "success" || status === "duplicate" || status === "finished";
    const tone = good ? "good" : status === "failed" || status === "rejected" ? "bad" : "busy";
    return html`
      <header class="mast"><b>Darkroom</b><small>${kicker}</small><small>${made}</small></header>
      <header class="titled"><div><h1 tabindex="-1">${name}</h1><small>${below}</small></div>
        <em class=${tone}>${t(`rep.is.${status}`)}</em></header>`;
  }

  /** @param {string[][]} facts */
  #facts(facts) {
    return html`<dl class="facts">${facts.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
  }

  #photo() {
    const { status, photo, workflow, look, steps, timeline, notes, error, result, made_at } = this.found;
    const below = workflow ? `${title(workflow.name)} · ${workflow.name} ${workflow.version} · ${this.of}` : this.of;
    return html`
      <article class="sheet-of-paper">
        ${this.#head(t("rep.title"), photo.name, below, status, `${t("rep.at")} ${date(made_at, WHEN)}`)}
        <div class="two">${this.#before()}${result ? this.#after() : nothing}</div>
        ${this.#facts(this.#figures())}
        ${error ? html`<p class="banner problem">${icon("triangle-alert")}<span><b>${t("rep.error")}</b>: ${sentence(error.code, error.detail)}</span></p>` : nothing}
        <div class="two tables">
          ${workflow ? html`<section><h2>${t("rep.settings")}</h2>${this.#settings(workflow)}</section>` : nothing}
          <section><h2>${t("rep.timeline")}</h2><table>${timeline.map((/** @type {any} */ each) => html`
            <tr><th scope="row">${t(HAPPENINGS[each.what], each.attempt ?? "?")}</th><td>${date(each.at, WHEN)}</td></tr>`)}</table></section>
        </div>
        ${steps.length ? html`<section><h2>${t("rep.steps")}</h2>${this.#steps(steps)}</section>` : nothing}
        ${look ? html`<section><h2>${t("rep.look")} <small>${t("rep.gates", look.gates)}</small></h2><dl class="look">
          ${Object.entries(look.figures).map(([name, value]) => (value === null ? nothing : html`<div><dt>${name}</dt><dd>${shown(value)}</dd></div>`))}</dl></section>` : nothing}
        <section><h2>${t("rep.sums")}</h2><table class="sums">${this.#sums().map(([name, sum]) => html`
          <tr><th scope="row">${name}</th><td><code>${sum}</code></td></tr>`)}</table></section>
        ${notes.length || result?.mask ? html`<section><h2>${t("rep.notes")}</h2><ul>
          ${result?.mask ? html`<li>${t("rep.mask")}</li>` : nothing}${notes.map((/** @type {string} */ note) => html`<li>${note}</li>`)}</ul></section>` : nothing}
        ${this.#foot(workflow?.signature ?? "", result)}
      </article>`;
  }

  #before() {
    const { photo } = this.found;
    const isShown = SHOWN.has(photo.format) && photo.width * photo.height <= MOST_PIXELS;
    const about = [photo.width ? `${number(photo.width)} × ${number(photo.height)}` : "", photo.format ?? "", bytes(photo.bytes)];
    return this.#figure(t("before"), isShown ? picture(this.of, "original") : "", t("rep.original"), about);
  }

  #after() {
    const { width, height, bytes: size } = this.found.result;
    return this.#figure(t("after"), picture(this.of, "preview"), t("rep.none"), [`${number(width)} × ${number(height)}`, "PNG", bytes(size)]);
  }

  /** @param {string} name @param {string} source @param {string} missing @param {string[]} about */
  #figure(name, source, missing, about) {
    return html`
      <figure>
        <div class="shot"><small>${missing}</small>
          ${source ? html`<img src=${source} crossorigin="anonymous" alt=${name} @error=${(/** @type {Event} */ event) => /** @type {HTMLElement} */ (event.target).remove()}>` : nothing}</div>
        <figcaption>${name}<small>${about.filter(Boolean).join(" · ")}</small></figcaption>
      </figure>`;
  }

  #figures() {
    const { photo, result, machine, attempts } = this.found;
    const facts = [];
    if (result && photo.width) {
      // By the longer sides: the photo may lie on its side.
      facts.push([t("rep.scale"), `${number(Math.max(result.width, result.height) / Math.max(photo.width, photo.height), 2)} ×`]);
      facts.push([t("rep.pixels"), `${number((photo.width * photo.height) / 1e6, 2)} → ${number((result.width * result.height) / 1e6, 2)} MP`]);
    }
    if (machine) {
      facts.push([t("rep.took"), seconds(machine.duration_seconds)], [t("rep.waited"), seconds(machine.queue_seconds)]);
      facts.push([t("rep.memory"), bytes(machine.peak_device_memory_bytes ?? machine.peak_memory_bytes)]);
      facts.push([t("rep.device"), `${machine.device} · ${machine.engine}`]);
    }
    if (attempts) facts.push([t("rep.attempts"), number(attempts)]);
    return facts;
  }

  /** @param {any} workflow */
  #settings(workflow) {
    return html`
      <table><thead><tr><th scope="col">${t("rep.name")}</th><th scope="col">${t("rep.value")}</th><th scope="col">${t("rep.usual")}</th></tr></thead>
        <tbody>${workflow.params.map((/** @type {any} */ each) => html`
          <tr class=${each.default !== null && each.value !== each.default ? "changed" : ""}><th scope="row">${word("param", each.name)}</th>
            <td>${shown(each.value)}</td><td>${shown(each.default)}</td></tr>`)}</tbody></table>`;
  }

  /** @param {any[]} steps */
  #steps(steps) {
    return html`
      <table><thead><tr><th scope="col">${t("rep.step")}</th><th scope="col">${t("rep.did")}</th><th scope="col">${t("rep.seconds")}</th></tr></thead>
        <tbody>${steps.map((each) => html`
          <tr><th scope="row">${word("step", each.step)}</th><td class="long">${this.#did(each)}</td>
            <td>${each.seconds === null ? "" : seconds(each.seconds)}</td></tr>`)}</tbody></table>`;
  }

  /** @param {any} step */
  #did({ skipped, model, params, detail }) {
    if (!skipped) return [model, listed({ ...params, ...detail })].filter(Boolean).join("; ");
    const because = has(`skip.${skipped.code}`) ? t(`skip.${skipped.code}`) : skipped.because;
    return html`${t("rep.skipped", because)} <small>${listed(skipped.measured)}</small>`;
  }

  /** @returns {string[][]} */
  #sums() {
    const { photo, models, result, copies } = this.found;
    const sums = models.map((/** @type {any} */ model) => [`${t("rep.model")}: ${model.name}`, model.sha256]);
    if (photo.sha256) sums.unshift([t("rep.sum.original"), photo.sha256]);
    if (result) sums.push([t("rep.sum.result"), result.sha256]);
    for (const copy of copies) sums.push([t(`rep.sum.${copy.labelled ? "labelled" : "copy"}`, copy.format.toUpperCase()), copy.sha256]);
    return sums;
  }

  /** @param {string} signature @param {unknown} result */
  #foot(signature, result) {
    const { job } = this.found;
    return html`
      <footer>
        ${signature ? html`<p><b>${t("rep.signature")} <code>${signature}</code></b><br>${t("rep.signature.s")}</p>` : nothing}
        ${result ? html`<p>${t("res.honest")}</p>` : nothing}
        ${job && !this.#job ? html`<p><a href="#/report/job/${job}">${t("rep.job")}</a></p>` : nothing}
      </footer>`;
  }

  #batch() {
    const { name, workflow, params, begun_at, counts, finished, unsent, skipped } = this.found;
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    const ended = all - (counts.queued ?? 0) - (counts.processing ?? 0);
    return html`
      <article class="sheet-of-paper">
        ${this.#head(t("rep.job"), name, `${title(workflow)} · ${this.#job}`, finished ? "finished" : "processing", "")}
        ${this.#facts([[t("rep.begun"), date(begun_at, WHEN)], [t("rep.photos"), t("rep.ended", number(ended), number(all))]])}
        <div class="two tables">
          <section><h2>${t("rep.counts")}</h2><table>${Object.entries(counts).map(([status, count]) => html`
            <tr><th scope="row">${t(`rep.is.${status}`)}</th><td>${number(count)}</td></tr>`)}</table></section>
          <section><h2>${t("rep.settings")}</h2><table>${Object.entries(params).map(([key, value]) => html`
            <tr><th scope="row">${word("param", key)}</th><td>${shown(value)}</td></tr>`)}</table></section>
        </div>
        ${unsent || skipped ? html`<p class="sub">${t("rep.unsent", number(unsent), number(skipped))}</p>` : nothing}
        <section><h2>${t("rep.photos")}</h2><table>${this.rows.map((row) => html`
          <tr><th scope="row">${row.task_id ? html`<a href="#/report/${row.task_id}">${row.image_filename ?? t("his.erased")}</a>` : (row.image_filename ?? "")}</th>
            <td>${t(`rep.is.${row.status}`)}${row.error_code ? html` <small>${sentence(row.error_code, row.error_detail ?? "")}</small>` : nothing}</td></tr>`)}</table></section>
        ${this.next ? html`<p class="acts"><button @click=${() => this.#more().catch((error) => (this.problem = said(error)))}>${t("his.more")}</button></p>` : nothing}
        ${this.#foot("", true)}
      </article>`;
  }
}
customElements.define("dr-report", Report);
