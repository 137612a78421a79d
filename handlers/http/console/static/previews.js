// @ts-check
// A preview of one photo with certain settings. A picture is shown only if task *and* signature are those that were asked
// for last; the earlier one stays until then.
import { Refusal, follow, get, picture, post, said, sentence } from "./api.js";
import { t } from "./parts/words.js";

/** Longer side before the work [px]: seconds, even on a CPU. */
const SIDE_PX = 512;
/** Longer side of the preview of a repair, which keeps the photo's size. */
const REPAIR_SIDE_PX = 1024;
const BUSY_WAIT_S = 5;

/** @typedef {{ source: Record<string, string>, workflow: string, params: Record<string, unknown> }} Wanted */
/** @typedef {{ task: string, signature: string, url: string, width: number, height: number }} Shown */

/** The longer side of a preview of this scene, before the work [px]. @param {string} workflow */
export const previewSide = (workflow) => (workflow === "repair" ? REPAIR_SIDE_PX : SIDE_PX);

/** Ask for previews until the API begins them: it lets a user have a few at once, and a photo may have come a moment ago.
 * Null: nobody wants them any more. Throws `Refusal`.
 * @param {object} request @param {() => boolean} isWanted @returns {Promise<any>} */
export async function patiently(request, isWanted) {
  for (;;) {
    try {
      return await post("/previews", request);
    } catch (error) {
      const later = error instanceof Refusal && (error.code === "too_many_previews" || error.code === "too_early");
      if (!later || !isWanted()) throw error;
      const waitS = error.code === "too_early" ? 1 : error.retryAfterS || BUSY_WAIT_S;
      await new Promise((go) => setTimeout(go, waitS * 1000));
      if (!isWanted()) return null;
    }
  }
}

/** Parameters for a preview, which is made of a smaller copy: strokes of a brush are in pixels, and shrink with it;
 * a mask that was sent does so by itself.
 * @param {Record<string, unknown>} params @param {number} side the longer one of the photo [px]
 * @returns {Record<string, unknown>} */
export function forPreview(params, side) {
  if (!params.mask || String(params.mask).startsWith("ticket:") || side <= REPAIR_SIDE_PX) return params;
  const scaled = String(params.mask).replace(/\d+/g, (digits) => String(Math.max(1, Math.round((Number(digits) * REPAIR_SIDE_PX) / side))));
  return { ...params, mask: scaled };
}

export class Preview extends EventTarget {
  /** What is shown. @type {Shown | null} */
  shown = null;
  /** The signature that was asked for last; empty before the API told it. */
  signature = "";
  /** Whether a picture is on its way, and how far it is. */
  busy = false;
  share = 0;
  /** Why there is none, for people. */
  problem = "";
  #wanted = "";
  #end = () => {};

  /** Whether what is shown was made with what is wanted. */
  get matches() {
    return this.shown !== null && !this.busy && this.problem === "" && this.shown.signature === this.signature;
  }

  /** @param {Wanted} wanted */
  async ask(wanted) {
    const mine = JSON.stringify(wanted);
    if (mine === this.#wanted && !this.problem) return;
    this.#end();
    this.#wanted = mine;
    this.#change({ busy: true, share: 0, problem: "", signature: "" });
    try {
      const request = { ...wanted, max_px: previewSide(wanted.workflow) };
      const begun = await patiently(request, () => this.#wanted === mine);
      if (!begun || this.#wanted !== mine) return;
      this.#change({ signature: begun.signature });
      this.#watch(begun, mine);
    } catch (error) {
      if (this.#wanted === mine) this.#change({ busy: false, problem: said(error) });
    }
  }

  /** @param {{ task_id: string, signature: string }} begun @param {string} mine */
  #watch(begun, mine) {
    this.#end = follow(
      `/tasks/${begun.task_id}/events`,
      (happening) => {
        if (this.#wanted !== mine || happening.task_id !== begun.task_id) return;
        this.#change({ share: happening.progress ?? 0 });
        if (happening.status === "success") this.#finish(begun, mine);
        else if (happening.error) this.#fail(sentence(happening.error.code, happening.error.detail));
      },
    );
  }

  /** @param {{ task_id: string, signature: string }} begun @param {string} mine */
  async #finish(begun, mine) {
    this.#end();
    try {
      const record = await get(`/tasks/${begun.task_id}/record`);
      if (this.#wanted !== mine) return;
      if (record.task_id !== begun.task_id || record.workflow.signature !== begun.signature) {
        this.#fail(t("cmp.other"));
        return;
      }
      const { width, height } = record;
      const url = picture(begun.task_id, "result");
      this.#change({ busy: false, shown: { task: begun.task_id, signature: begun.signature, url, width, height } });
    } catch (error) {
      if (this.#wanted === mine) this.#fail(said(error));
    }
  }

  /** @param {string} problem */
  #fail(problem) {
    this.#end();
    this.#change({ busy: false, problem });
  }

  end() {
    this.#wanted = "";
    this.#end();
  }

  /** @param {Partial<Preview>} changes */
  #change(changes) {
    Object.assign(this, changes);
    this.dispatchEvent(new Event("change"));
  }
}
