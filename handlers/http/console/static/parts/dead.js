// @ts-check
// Dead letters: messages that could not be used, each with its reason and the way back to its queue.
import { html } from "../vendor/lit.js";
import { icon } from "./icons.js";
import { date, t } from "./words.js";

/** @typedef {{ id: string, queue: string, code: string, detail: string, at: string }} Letter */

/** @param {Letter[]} letters @param {(ids: string[]) => void} putBack */
export function deadLetters(letters, putBack) {
  const ids = [...new Set(letters.map((letter) => letter.id))];
  return html`
    <section class="card wide">
      <header><div><h2>${t("op.letters")}</h2><p class="sub">${t("op.letters.s")}</p></div>
        <button @click=${() => putBack(ids)}>${icon("rotate-ccw")}${t("op.back.all", ids.length)}</button></header>
      <div class="scroll" tabindex="0" role="region" aria-label=${t("op.letters")}><table>
        <thead><tr><th>${t("op.queue")}</th><th>${t("op.reason")}</th><th>${t("op.detail")}</th><th>${t("op.when")}</th><th><span class="unseen">${t("op.back")}</span></th></tr></thead>
        <tbody>${letters.map((letter) => row(letter, putBack))}</tbody>
      </table></div>
    </section>`;
}

/** @param {Letter} letter @param {(ids: string[]) => void} putBack */
const row = (letter, putBack) => html`
  <tr><td>${letter.queue.replace("darkroom.", "")}</td><td><code>${letter.code}</code></td><td class="long">${letter.detail}</td>
    <td>${letter.at ? date(letter.at, { dateStyle: "short", timeStyle: "short" }) : "–"}</td>
    <td><button class="quiet" @click=${() => putBack([letter.id])}>${icon("rotate-ccw")}${t("op.back")}</button></td></tr>`;
