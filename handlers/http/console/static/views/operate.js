// @ts-check
// For whoever runs Darkroom: how much was done, what of, and why photos failed.
import { LitElement, html, nothing } from "../vendor/lit.js";
import { get, post, said, sentence } from "../api.js";
import { bars } from "../parts/chart.js";
import { deadLetters } from "../parts/dead.js";
import { icon } from "../parts/icons.js";
import { housekeeping, oldestMessage, queueBoard, warnings, workerBoard } from "../parts/system.js";
import { bytes, date, number, t } from "../parts/words.js";
import { title } from "../scenes.js";

const SPANS = [1, 7, 30];
const COLOURED = 2;
const REFRESH_MS = 15_000;
const FAILED_SHOWN = 20;
const CIRCUMSTANCES_SHOWN = 8;
/** As many as one request may name. */
const LETTERS_AT_ONCE = 200;
const DAY_MS = 86_400_000;

/** @typedef {{ day: string, workflow_type: string | null, status: string, error_code: string | null, uploads: number }} Count */

/** @typedef {{ error_code: string, megapixels: string | null, memory_gib: string | null, device: string | null,
 *   failures: number, ended: number, rate: number }} Failure */

class Operate extends LitElement {
  static properties = {
    language: {}, days: { state: true }, counts: { state: true }, failures: { state: true }, failed: { state: true },
    system: { state: true }, dead: { state: true }, problem: { state: true },
  };

  constructor() {
    super();
    this.language = "";
    this.days = 7;
    /** @type {Count[]} */
    this.counts = [];
    /** Causes, each with the circumstances under which it came. @type {Failure[]} */
    this.failures = [];
    /** Queues, workers, sweep and backup. @type {import("../parts/system.js").System | null} */
    this.system = null;
    /** @type {import("../parts/dead.js").Letter[]} */
    this.dead = [];
    /** Photos that failed, the latest first. @type {any[]} */
    this.failed = [];
    this.problem = "";
    this.timer = 0;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.#load();
    this.timer = setInterval(() => this.#load(), REFRESH_MS);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
  }

  async #load() {
    const days = this.days;
    try {
      const [counts, summary, failed, system] = await Promise.all([
        get(`/stats?days=${days}`), get(`/stats/summary?days=${days}`), get(`/tasks?status=failed&limit=${FAILED_SHOWN}`), get("/status"),
      ]);
      if (days !== this.days) return;
      Object.assign(this, { counts, failures: summary.failures, failed: failed.items, system, problem: "" });
      const anyDead = (system.queues ?? []).some((/** @type {{ dead: number }} */ queue) => queue.dead > 0);
      this.dead = anyDead ? (await get("/dead")).items : [];
    } catch (error) {
      this.problem = said(error);
    }
  }

  /** @param {string} task */
  async #retry(task) {
    try {
      await post(`/tasks/${task}/retry`, {});
      await this.#load();
    } catch (error) {
      this.problem = said(error);
    }
  }

  /** @param {string[]} ids */
  async #putBack(ids) {
    try {
      for (let first = 0; first < ids.length; first += LETTERS_AT_ONCE) {
        await post("/dead/retry", { ids: ids.slice(first, first + LETTERS_AT_ONCE) });
      }
      await this.#load();
    } catch (error) {
      this.problem = said(error);
    }
  }

  /** Uploads that ended in one of these ways, or are in one of these states. @param {string[]} statuses */
  #sum(...statuses) {
    return this.counts.filter((count) => statuses.includes(count.status)).reduce((sum, count) => sum + count.uploads, 0);
  }

  render() {
    return html`
      <header class="head">
        <div><h1 tabindex="-1">${t("op.title")}</h1><p class="sub">${t("op.sub")}</p></div>
        <span class="chips">${SPANS.map((days) => html`<button class="chip" aria-pressed=${this.days === days}
          @click=${() => { this.days = days; this.#load(); }}>${t("op.days", days)}</button>`)}</span>
      </header>
      ${this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span></p>` : nothing}
      ${this.system ? warnings(this.system) : nothing}
      ${this.#figures()}
      <div class="boards">
        ${this.#byDay()}${this.#causes()}
        ${this.system ? html`${queueBoard(this.system)}${housekeeping(this.system)}${workerBoard(this.system)}` : nothing}
        ${this.dead.length ? deadLetters(this.dead, (ids) => this.#putBack(ids)) : nothing}
        ${this.#failures()}
      </div>`;
  }

  #figures() {
    const [done, bad] = [this.#sum("success", "duplicate"), this.#sum("failed", "rejected")];
    const all = done + bad;
    const share = all ? `${number((bad / all) * 100)} %` : "–";
    return html`
      <dl class="figures">
        ${figure("op.waiting", number(this.#sum("queued", "received")))}
        ${figure("op.work", number(this.#sum("processing")))}
        ${figure("op.oldest", oldestMessage(this.system))}
        ${figure("op.done", number(done))}
        ${figure("op.fail", share, t("op.of", number(bad), number(all)), bad > 0)}
      </dl>`;
  }

  #byDay() {
    const done = this.counts.filter((count) => count.status === "success");
    const days = lastDays(this.days);
    const scenes = [...sumBy(done, (count) => count.workflow_type ?? "")].sort((a, b) => b[1] - a[1]).map(([name]) => name);
    const shown = scenes.slice(0, COLOURED);
    const names = [...shown.map((name) => title(name)), ...(scenes.length > COLOURED ? [t("op.others")] : [])];
    const series = names.map((_, n) => days.map((day) => done
      .filter((count) => count.day === day && (n < shown.length ? count.workflow_type === shown[n] : !shown.includes(count.workflow_type ?? "")))
      .reduce((sum, count) => sum + count.uploads, 0)));
    const labels = days.map((day) => date(`${day}T12:00:00Z`, { day: "numeric", month: "short" }));
    return html`
      <section class="card"><h2>${t("op.by")}</h2>
        ${done.length ? html`${bars(t("op.by"), series, labels)}
          <p class="key">${names.map((name, n) => html`<i class="s${n}"></i>${name}`)}</p>
          ${asTable(names, labels, series)}` : html`<p class="sub">${t("op.none")}</p>`}
      </section>`;
  }

  #causes() {
    const bad = this.counts.filter((count) => count.error_code);
    const causes = [...sumBy(bad, (count) => count.error_code ?? "")].sort((a, b) => b[1] - a[1]).slice(0, 8);
    const most = Math.max(1, ...causes.map(([, count]) => count));
    return html`
      <section class="card"><h2>${t("op.why")}</h2>
        ${causes.length ? html`<ul class="causes">${causes.map(([code, count]) => html`
          <li><code>${code}</code><progress max=${most} value=${count} aria-label=${code}></progress><b>${number(count)}</b></li>`)}</ul>
          ${this.#circumstances()}`
          : html`<p class="sub">${t("op.well")}</p>`}
      </section>`;
  }

  /** Whether it was memory, or the size of the photos. */
  #circumstances() {
    const shown = this.failures.slice(0, CIRCUMSTANCES_SHOWN);
    if (!shown.length) return nothing;
    return html`
      <details class="as-table"><summary>${t("op.under")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("op.under")}><table>
        <thead><tr><th>${t("op.reason")}</th><th>MP</th><th>${t("op.gib")}</th><th>${t("op.device")}</th><th>${t("op.rate")}</th></tr></thead>
        <tbody>${shown.map((row) => html`
          <tr><td><code>${row.error_code}</code></td><td>${row.megapixels ?? "–"}</td><td>${row.memory_gib ?? "–"}</td><td>${row.device ?? "–"}</td>
            <td>${number(row.rate * 100)} % (${t("op.of", number(row.failures), number(row.ended))})</td></tr>`)}</tbody>
      </table></div></details>`;
  }

  #failures() {
    return html`
      <section class="card wide"><h2>${t("op.failed")}</h2>
        ${this.failed.length ? html`<div class="scroll" tabindex="0" role="region" aria-label=${t("op.failed")}><table>
          <thead><tr><th>${t("op.photo")}</th><th>${t("op.reason")}</th><th>${t("op.memory")}</th><th>${t("op.when")}</th><th><span class="unseen">${t("op.retry")}</span></th></tr></thead>
          <tbody>${this.failed.map((row) => this.#failure(row))}</tbody></table></div>` : html`<p class="sub">${t("op.well")}</p>`}
      </section>`;
  }

  /** @param {any} row */
  #failure(row) {
    const pixels = row.width ? `${number((row.width * row.height) / 1e6)} MP` : "–";
    const memory = row.peak_memory_bytes ? `${pixels}, ${bytes(row.peak_memory_bytes)}` : pixels;
    return html`
      <tr><td>${row.image_filename ?? row.upload_id.slice(0, 8)}</td>
        <td title=${sentence(row.error_code, row.error_detail ?? "")}><code>${row.error_code}</code></td>
        <td>${memory}</td><td>${date(row.updated_at ?? row.upload_time, { dateStyle: "short", timeStyle: "short" })}</td>
        <td>${row.task_id ? html`<button class="quiet" @click=${() => this.#retry(row.task_id)}>${icon("rotate-ccw")}${t("op.retry")}</button>` : nothing}</td></tr>`;
  }
}
customElements.define("dr-operate", Operate);

/** @param {string} name @param {string} value @param {string} [note] @param {boolean} [bad] */
const figure = (name, value, note = "", bad = false) =>
  html`<div class="figure ${bad ? "bad" : ""}"><dt>${t(name)}</dt><dd><b>${value}</b>${note ? html`<small>${note}</small>` : nothing}</dd></div>`;

/** @param {Count[]} counts @param {(count: Count) => string} key */
function sumBy(counts, key) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const count of counts) sums.set(key(count), (sums.get(key(count)) ?? 0) + count.uploads);
  return sums;
}

/** The last days, in UTC, as the API counts them. @param {number} count */
function lastDays(count) {
  const most = Math.max(count, 2);
  return Array.from({ length: most }, (_, i) => new Date(Date.now() - (most - 1 - i) * DAY_MS).toISOString().slice(0, 10));
}

/** The chart for those who do not see it. @param {string[]} names @param {string[]} days @param {number[][]} series */
function asTable(names, days, series) {
  return html`
    <details class="as-table"><summary>${t("op.table")}</summary><div class="scroll" tabindex="0" role="region" aria-label=${t("op.by")}><table>
      <thead><tr><th></th>${names.map((name) => html`<th>${name}</th>`)}</tr></thead>
      <tbody>${days.map((day, i) => html`<tr><th>${day}</th>${series.map((values) => html`<td>${number(values[i])}</td>`)}</tr>`)}</tbody>
    </table></div></details>`;
}
