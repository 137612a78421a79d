// @ts-check
// What waits, who works, and whether sweep and backup look after it: Darkroom as a whole, as `/v1/status` tells it.
import { html, nothing } from "../vendor/lit.js";
import { title } from "../scenes.js";
import { icon } from "./icons.js";
import { ago, number, seconds, t } from "./words.js";

const OLD_MESSAGE_S = 600;
const OLD_PASS_S = 86_400;
const OLD_BACKUP_S = 7200;

/** @typedef {{ name: string, messages: number, oldest_s: number | null, dead: number }} Queue */
/** @typedef {{ host: string, release: string, engine: string, device: string, announced_at: string, workflows: string[] }} Worker */
/** @typedef {{ device: string, engine: string | null, restored: number, failed: number, busy_s: number, last_at: string | null }} Device */
/** A part is null while the service that knows it is away.
 * @typedef {{ queues: Queue[] | null, workers: Worker[] | null, devices: Device[] | null,
 *   sweep: { passed_at: string | null, settled_until: string | null, looked_at: string | null } | null,
 *   backup: { begun_at: string, seconds: number, objects: number, findings: number } | null }} System */

/** What an operator should look at, the worst first. @param {System} system */
export function warnings(system) {
  const said = [...missing(system), ...late(system)];
  return said.map((sentence) => html`<p class="banner" role="status">${icon("triangle-alert")}<span>${sentence}</span></p>`);
}

/** @param {System} system */
function missing(system) {
  const said = [];
  if (!system.queues) said.push(t("op.warn.away", t("op.part.broker")));
  if (!system.workers) said.push(t("op.warn.away", t("op.part.store")));
  if (!system.devices) said.push(t("op.warn.away", t("op.part.log")));
  if (system.workers?.length === 0) said.push(t("op.warn.workers"));
  return said;
}

/** @param {System} system */
function late({ queues, sweep, backup }) {
  const said = [];
  const dead = (queues ?? []).reduce((sum, queue) => sum + queue.dead, 0);
  if (dead) said.push(t("op.warn.dead", number(dead)));
  const oldest = oldestOf(queues);
  if (oldest && (oldest.oldest_s ?? 0) > OLD_MESSAGE_S) said.push(t("op.warn.old", oldest.name, seconds(oldest.oldest_s ?? 0)));
  if (sweep?.passed_at && since(sweep.passed_at) > OLD_PASS_S) said.push(t("op.warn.sweep", ago(sweep.passed_at)));
  if (backup && since(backup.begun_at) > OLD_BACKUP_S) said.push(t("op.warn.backup", ago(backup.begun_at)));
  return said;
}

/** @param {string} when */
const since = (when) => (Date.now() - new Date(when).getTime()) / 1000;

/** The queue whose first message has waited longest. @param {Queue[] | null} queues @returns {Queue | undefined} */
const oldestOf = (queues) =>
  (queues ?? []).filter((queue) => queue.messages).sort((a, b) => (b.oldest_s ?? 0) - (a.oldest_s ?? 0))[0];

/** @param {System | null} system */
export function oldestMessage(system) {
  const oldest = oldestOf(system?.queues ?? null);
  return oldest?.oldest_s ? seconds(oldest.oldest_s) : "–";
}

/** @param {System} system */
export function queueBoard(system) {
  const shown = system.queues?.filter((queue) => queue.messages || queue.dead);
  return html`
    <section class="card"><h2>${t("op.queues")}</h2>
      ${!shown ? away() : shown.length ? table("op.queues", ["op.queue", "op.messages", "op.oldest.of", "op.dead"], shown.map((queue) => html`
        <tr><td>${queue.name.replace("darkroom.", "")}</td><td>${number(queue.messages)}</td>
          <td>${queue.messages && queue.oldest_s !== null ? seconds(queue.oldest_s) : "–"}</td><td>${number(queue.dead)}</td></tr>`))
        : html`<p class="sub">${t("op.idle")}</p>`}
    </section>`;
}

/** Sweep and backup. @param {System} system */
export function housekeeping({ sweep, backup, workers }) {
  return html`
    <section class="card"><h2>${t("op.keep")}</h2>
      <dl class="facts">
        ${sweep ? html`
          ${fact("op.sweep.pass", sweep.passed_at ? ago(sweep.passed_at) : t("op.sweep.underway"))}
          ${fact("op.sweep.look", sweep.looked_at ? ago(sweep.looked_at) : "–")}` : nothing}
        ${backup ? html`
          ${fact("op.backup.run", ago(backup.begun_at))}
          ${fact("op.backup.took", seconds(backup.seconds))}
          ${fact("op.findings", number(backup.findings))}` : nothing}
      </dl>
      ${workers ? nothing : away()}
      ${backup || !workers ? nothing : html`<p class="sub">${t("op.backup.none")}</p>`}
    </section>`;
}

/** @param {System} system */
export function workerBoard({ workers, devices }) {
  const columns = ["op.worker", "op.engine", "op.device", "op.release", "op.said", "op.can"];
  return html`
    <section class="card wide"><h2>${t("op.workers")}</h2>
      ${!workers ? away() : workers.length ? table("op.workers", columns, workers.map((worker) => html`
        <tr><td>${worker.host.slice(0, 8)}</td><td>${worker.engine}</td><td>${worker.device || "–"}</td><td>${worker.release}</td>
          <td>${ago(worker.announced_at)}</td><td title=${worker.workflows.map(title).join(", ")}>${number(worker.workflows.length)}</td></tr>`))
        : html`<p class="sub">${t("op.noworkers")}</p>`}
      ${devices?.length ? html`<h3>${t("op.devices")}</h3>${table("op.devices", ["op.device", "op.engine", "op.restored", "op.failed.n", "op.busy", "op.last"],
        devices.map((device) => html`
          <tr><td>${device.device}</td><td>${device.engine ?? "–"}</td><td>${number(device.restored)}</td><td>${number(device.failed)}</td>
            <td>${seconds(device.busy_s)}</td><td>${device.last_at ? ago(device.last_at) : "–"}</td></tr>`))}` : nothing}
    </section>`;
}

const away = () => html`<p class="sub">${t("op.away")}</p>`;

/** @param {string} name @param {string} value */
const fact = (name, value) => html`<div><dt>${t(name)}</dt><dd>${value}</dd></div>`;

/** @param {string} label @param {string[]} columns @param {unknown[]} rows */
const table = (label, columns, rows) => html`
  <div class="scroll" tabindex="0" role="region" aria-label=${t(label)}><table>
    <thead><tr>${columns.map((column) => html`<th>${t(column)}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`;
