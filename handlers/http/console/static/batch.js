// @ts-check
// Photos that were brought together are one batch: a job of the API, which begins with the first of them that is started.
import { Refusal, post } from "./api.js";
import { date, number, t } from "./parts/words.js";

/** @typedef {import("./photos.js").Photo} Photo */

/** A batch's name, the same in every language: when it was brought, and how many photos it has. */
const NAME = /^(\d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d) \((\d+)\)$/;

/** Batches that are being begun: two starts at the same moment begin one job. @type {Map<string, Promise<string>>} */
const beginning = new Map();

/** Make photos that were brought together a batch, or, as after a reload, part of the one in which some of them wait.
 * @param {Photo[]} brought @param {Photo[]} list all photos */
export function join(brought, list) {
  const fresh = brought.filter((photo) => !photo.batch && !photo.task && photo.state !== "refused");
  const known = brought.find((photo) => photo.batch && !photo.task);
  if (!known && fresh.length < 2) return;
  const { batch, job } = known ?? { batch: now(), job: "" };
  let item = Math.max(0, ...matesIn(batch, list).map((mate) => mate.item));
  for (const photo of fresh) Object.assign(photo, { batch, job, item: ++item });
}

/** A photo's place in the job of its batch; null for one that was brought alone. Throws `Refusal`.
 * @param {Photo} photo @param {Photo[]} list @param {string} workflow @param {Record<string, unknown>} params */
export async function placeOf(photo, list, workflow, params) {
  const mates = matesIn(photo.batch, list);
  if (!photo.job && mates.length > 1) {
    const job = await begun(mates, workflow, params);
    for (const mate of mates) mate.job = job;
  }
  return photo.job ? { job: photo.job, item: photo.item } : null;
}

/** Say of each job how many of its photos were started. What is not told now is told the next time. @param {Photo[]} list */
export async function tellEnds(list) {
  const started = list.filter((photo) => photo.joined);
  const untold = started.filter((photo) => !photo.told);
  for (const job of new Set(untold.map((photo) => photo.job))) {
    const sent = started.filter((photo) => photo.job === job);
    const answer = await post(`/ingests/${job}/end`, { sent: sent.length }).catch(() => null);
    if (answer) for (const photo of sent) photo.told = true;
  }
}

/** The name of a job for people; of one that was brought here in the page's language. @param {string} name */
export function titleOf(name) {
  const [, batch, count] = NAME.exec(name) ?? [];
  return batch ? t("bat.brought", timeOf(batch), number(Number(count))) : name;
}

/** When a batch was brought, for people. @param {string} batch */
export const timeOf = (batch) => date(batch.replace(" ", "T").replaceAll(".", ":"), { dateStyle: "medium", timeStyle: "short" });

/** A photo of each batch that was begun. @param {Photo[]} list */
export const batchesOf = (list) => [...new Map(list.filter((photo) => photo.job).map((photo) => [photo.job, photo])).values()];

/** The photos of a batch, without those that turned out to be restored before. @param {string} batch @param {Photo[]} list */
const matesIn = (batch, list) => list.filter((photo) => batch && photo.batch === batch && photo.state !== "refused" && (photo.joined || !photo.task));

/** @param {Photo[]} mates @param {string} workflow @param {Record<string, unknown>} params @returns {Promise<string>} */
function begun(mates, workflow, params) {
  const { batch } = mates[0];
  const begin = beginning.get(batch) ?? asked(mates, workflow, params).finally(() => beginning.delete(batch));
  beginning.set(batch, begin);
  return begin;
}

/** @param {Photo[]} mates @param {string} workflow @param {Record<string, unknown>} params @returns {Promise<string>} */
async function asked(mates, workflow, params) {
  // Strokes of a brush belong to one photo.
  const { mask: _, ...shared } = params;
  try {
    const name = `${mates[0].batch} (${mates.length})`;
    return (await post("/ingests", { name, workflow, params: shared, priority: "interactive" })).job;
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== "idempotency_conflict") throw error;
    // Begun before a reload, which lost the answer, and with other settings.
    for (const mate of mates) mate.batch = now();
    return asked(mates, workflow, params);
  }
}

/** This second, in the person's own time: a part of a file's name, too. */
function now() {
  const moment = new Date();
  const two = (/** @type {number} */ value) => String(value).padStart(2, "0");
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day} ${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(".")}`;
}
