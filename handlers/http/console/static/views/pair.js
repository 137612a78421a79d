// @ts-check
// Two results of one original under the slider, and in what their settings differ.
import { LitElement, html, nothing } from "../vendor/lit.js";
import { get, picture, said } from "../api.js";
import { icon } from "../parts/icons.js";
import { label, shownValue } from "../parts/settings.js";
import { number, seconds, t } from "../parts/words.js";
import { title } from "../scenes.js";
import "../parts/compare.js";

/** Above, the browser would take too much memory for two whole results; they are drawn of tiles, over the small previews. */
const MOST_PIXELS = 30_000_000;

class Pair extends LitElement {
  static properties = { tasks: {}, language: {}, records: { state: true }, problem: { state: true } };

  constructor() {
    super();
    /** Two tasks: `first/second`. */
    this.tasks = "";
    this.language = "";
    /** @type {any[]} */
    this.records = [];
    this.problem = "";
  }

  createRenderRoot() {
    return this;
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("tasks")) this.#load();
  }

  async #load() {
    const mine = this.tasks;
    Object.assign(this, { records: [], problem: "" });
    try {
      const records = await Promise.all(mine.split("/").slice(0, 2).map((task) => get(`/tasks/${task}/record`)));
      if (mine !== this.tasks) return;
      // Whatever the address says, never two photos over each other.
      if (records.length < 2 || records[0].source.sha256 !== records[1].source.sha256) this.problem = t("pair.apart");
      else this.records = records;
    } catch (error) {
      if (mine === this.tasks) this.problem = said(error);
    }
  }

  render() {
    const [first] = this.records;
    return html`
      <section class="view" aria-label=${t("pair.title")}>
        <header><a class="button quiet round" href="#/history" aria-label=${t("back")}>${icon("arrow-left")}</a>
          <h1 tabindex="-1">${first?.source.filename ?? t("pair.title")}</h1></header>
        ${this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span></p>` : nothing}
        ${first ? this.#shown() : nothing}
      </section>`;
  }

  #shown() {
    const [first, second] = this.records;
    return html`
      <dr-compare .language=${this.language} .original=${shownOf(first)} .restored=${shownOf(second)}
        .leftTiles=${tiledOf(first)} .restoredTiles=${tiledOf(second)} .alt=${first.source.filename ?? ""}
        .left=${`A: ${title(first.workflow.name)}`} .right=${`B: ${title(second.workflow.name)}`}></dr-compare>
      <section class="card differ"><h2>${t("pair.differ")}</h2>
        <div class="scroll" tabindex="0" role="region" aria-label=${t("pair.differ")}><table>
          <thead><tr><th><span class="unseen">${t("set.params")}</span></th><th>A</th><th>B</th></tr></thead>
          <tbody>${rows(first, second).map(([name, a, b]) => html`<tr><th>${name}</th><td>${a}</td><td>${b}</td></tr>`)}
            <tr><th><span class="unseen">${t("res.title")}</span></th>${this.records.map((record) => html`
              <td><a class="button" href="#/look/task/${record.task_id}">${t("pair.open")}</a></td>`)}</tr></tbody>
        </table></div>
      </section>`;
  }
}
customElements.define("dr-pair", Pair);

/** @param {any} record */
const isLarge = ({ width, height }) => width * height > MOST_PIXELS;

/** @param {any} record */
const shownOf = (record) => picture(record.task_id, isLarge(record) ? "preview" : "result");

/** @param {any} record */
const tiledOf = (record) => (isLarge(record) ? record.task_id : "");

/** What is told of both: always scene, pixels and time, and each parameter that differs. @param {any} first @param {any} second
 * @returns {[string, string, string][]} */
function rows(first, second) {
  const [a, b] = [first.workflow.params, second.workflow.params];
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
  /** @param {any} params @param {string} name */
  const value = (params, name) => (name in params ? shownValue(name, params[name]) : "–");
  /** @param {any} record */
  const pixels = (record) => `${number(record.width)} × ${number(record.height)}`;
  return [
    [t("set.scene"), title(first.workflow.name), title(second.workflow.name)],
    [t("res.pixels"), pixels(first), pixels(second)],
    [t("res.took"), seconds(first.duration_seconds), seconds(second.duration_seconds)],
    ...names.map((name) => /** @type {[string, string, string]} */ ([label(name), value(a, name), value(b, name)])),
  ];
}
