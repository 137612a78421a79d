// @ts-check
// The photos that a person brought: sent to the store two at a time, started, and followed until they are restored.
//
// What is known of each survives a reload. A file itself does not: chosen again it is known by its name, size and time,
// draws the same ticket, and only what is missing is sent.
import { follow, get, post, remove, said, sentence } from "./api.js";
import { join, placeOf, tellEnds } from "./batch.js";
import { Sending } from "./send.js";
import { bytes, seconds, t } from "./parts/words.js";
import { thumbnail } from "./parts/thumbnail.js";

/** @typedef {"ready" | "sending" | "paused" | "lost" | "missing" | "arrived" | "held" | "queued" | "processing" | "success"
 *   | "failed" | "refused"} State */

/** What a person brought. `share`: how far it is sent or restored, from 0 to 1. `refused`: never sent. */
export class Photo {
  /** @param {string} key @param {string} name @param {number} size @param {File | null} file */
  constructor(key, name, size, file) {
    this.key = key;
    this.name = name;
    this.size = size;
    this.file = file;
    /** @type {State} */
    this.state = "ready";
    this.share = 0;
    this.why = "";
    this.ticket = "";
    this.task = "";
    this.workflow = "";
    this.signature = "";
    /** What can be seen of it while it is restored. @type {import("./api.js").Draft | null} */
    this.draft = null;
    /** When it was brought, where others were brought with it; empty: alone. */
    this.batch = "";
    this.item = 0;
    /** The job of its batch, once that was begun; whether it was started there, and the job was told so. */
    this.job = "";
    this.joined = false;
    this.told = false;
    this.thumb = "";
    /** @type {Sending | null} */
    this.sending = null;
    this.startedAt = 0;
    this.tookS = 0;
  }

  /** Whether the whole file is in the store. */
  get isThere() {
    return ["held", "queued", "processing", "success", "failed"].includes(this.state) && this.ticket !== "";
  }

  get isUnderWay() {
    return ["ready", "sending", "lost", "arrived", "queued", "processing"].includes(this.state);
  }
}

const AT_ONCE = 2;
const ASKED_AT_ONCE = 4;
/** So long the page may stand still while files are taken. */
const TAKING_MS = 20;
const KEPT = 500;
const STORED = "photos";
const POLL_MS = 1500;
const TELL_MS = 100;
const KEEP_MS = 1000;
/** Endings whose media type is not `image/` and the ending itself. @type {Record<string, string>} */
const TYPES = { jpg: "image/jpeg", tif: "image/tiff", jp2: "image/jp2", psd: "image/vnd.adobe.photoshop" };

/** @type {Record<string, State>} */
const STATES = { waiting: "missing", expired: "missing", held: "held", queued: "queued", processing: "processing",
  success: "success", duplicate: "success", failed: "failed", rejected: "refused" };

class Photos extends EventTarget {
  /** @type {Photo[]} */
  list = [];
  maxBytes = 0;
  /** Endings of files that may be photos, with their dot. @type {string[]} */
  suffixes = [];
  connected = true;
  #telling = false;
  #keeping = 0;
  #turn = 0;

  /** @param {number} maxBytes @param {string[]} suffixes */
  begin(maxBytes, suffixes) {
    this.maxBytes = maxBytes;
    this.suffixes = suffixes;
    this.#recall();
    follow("/events", (happening) => this.#heard(happening), (open) => this.#connected(open));
    setInterval(() => this.#poll(), POLL_MS);
    addEventListener("online", () => this.#connected(true));
    addEventListener("offline", () => this.#connected(false));
    addEventListener("pagehide", () => this.#keep());
    tellEnds(this.list);
  }

  /** Bring files. What cannot be restored is refused before a byte of it is sent. A few at a time: a browser asks the disk for
   * each file's size and time, and the page would stand still meanwhile. @param {Iterable<File>} files */
  async add(files) {
    const all = [...files];
    const brought = [];
    while (brought.length < all.length) {
      const begun = performance.now();
      while (brought.length < all.length && performance.now() - begun < TAKING_MS) brought.push(this.#take(all[brought.length]));
      this.#tell();
      this.#next();
      await new Promise((go) => setTimeout(go));
    }
    join([...new Set(brought)], this.list);
    this.#tell();
  }

  /** @param {File} file */
  #take(file) {
    const key = fingerprint(file);
    const known = this.list.find((photo) => photo.key === key);
    if (known) this.#again(known, file);
    const photo = known ?? this.#photo(key, file);
    if (!known) this.list.push(photo);
    return photo;
  }

  /** @param {string} key @param {File} file */
  #photo(key, file) {
    const photo = new Photo(key, file.name, file.size, file);
    const why = this.#refusal(file);
    if (why) {
      photo.state = "refused";
      photo.why = why;
      photo.file = null;
    } else {
      thumbnail(file).then((url) => {
        photo.thumb = url;
        this.#tell();
      });
    }
    return photo;
  }

  /** @param {File} file */
  #refusal(file) {
    if (!this.suffixes.includes(ending(file.name))) return t("refuse.type", file.name);
    if (file.size === 0) return t("refuse.empty");
    if (file.size > this.maxBytes) return t("refuse.large", bytes(file.size), bytes(this.maxBytes));
    return "";
  }

  /** A file that is known already, as after a reload. @param {Photo} photo @param {File} file */
  #again(photo, file) {
    if (photo.state === "refused") return;
    photo.file = file;
    if (!photo.thumb) thumbnail(file).then((url) => (photo.thumb = url));
    if (photo.state === "missing") photo.state = "ready";
  }

  #next() {
    const sending = this.list.filter((photo) => photo.state === "sending" || photo.state === "lost").length;
    const ready = this.list.filter((photo) => photo.state === "ready" && photo.file);
    for (const photo of ready.slice(0, Math.max(0, AT_ONCE - sending))) this.#send(photo);
  }

  /** @param {Photo} photo */
  async #send(photo) {
    const file = /** @type {File} */ (photo.file);
    photo.state = "sending";
    photo.why = "";
    photo.sending ??= new Sending(file, () => this.#draw(photo, file), {
      progress: (share) => this.#change(photo, { share, state: "sending" }),
      lost: (waitS) => this.#change(photo, { state: "lost", why: t("q.lost", Math.round(photo.share * 100), seconds(waitS)) }),
    });
    this.#tell();
    try {
      const ticket = await photo.sending.run();
      if (ticket) this.#change(photo, { state: "arrived", share: 1, sending: null });
    } catch (error) {
      this.#change(photo, { state: "failed", why: said(error), sending: null });
    }
    this.#next();
  }

  /** @param {Photo} photo @param {File} file */
  async #draw(photo, file) {
    const request = { filename: file.name.slice(0, 255), content_type: typeOf(file.name), bytes: file.size, priority: "interactive", start: false };
    const ticket = await post("/uploads", request, { "Idempotency-Key": `console-${photo.key}` });
    photo.ticket = ticket.ticket;
    this.#tell();
    const found = await get(`/uploads/${photo.ticket}`);
    // It may have arrived before the page was loaded anew.
    return { ...ticket, arrived: found.status !== "waiting" && found.status !== "expired" };
  }

  /** @param {Photo} photo */
  pause(photo) {
    photo.sending?.pause();
    this.#change(photo, { state: "paused" });
    this.#next();
  }

  /** @param {Photo} photo */
  resume(photo) {
    if (photo.state === "lost") photo.sending?.hurry();
    else if (photo.file) this.#change(photo, { state: "ready", why: "" });
    this.#next();
  }

  /** Try a photo again that failed: send it again, or start it again. @param {Photo} photo */
  async retry(photo) {
    if (!photo.task) {
      this.resume(photo);
      return;
    }
    try {
      const work = await post(`/tasks/${photo.task}/retry`, {});
      this.#change(photo, { state: STATES[work.status] ?? "queued", why: "", share: 0 });
    } catch (error) {
      this.#change(photo, { why: said(error) });
    }
  }

  async retryFailed() {
    for (const photo of this.list) if (photo.state === "failed") await this.retry(photo);
  }

  /** Begin to restore photos that have come. @param {Photo[]} some @param {string} workflow @param {Record<string, unknown>} params */
  async start(some, workflow, params) {
    for (const photo of some) await this.#start(photo, workflow, params);
    await tellEnds(this.list);
    this.#tell();
  }

  /** @param {Photo} photo @param {string} workflow @param {Record<string, unknown>} params */
  async #start(photo, workflow, params) {
    try {
      const ingest = await placeOf(photo, this.list, workflow, params);
      const work = await post("/tasks", { ticket: photo.ticket, workflow, params, priority: "interactive", ingest });
      const state = STATES[work.status] ?? "queued";
      const { task_id: task, signature } = work;
      if (ingest) Object.assign(photo, { joined: true, told: false });
      this.#change(photo, { task, signature, draft: null, workflow, state, why: "", share: 0, startedAt: Date.now(), tookS: 0 });
    } catch (error) {
      this.#change(photo, { why: said(error) });
    }
  }

  /** Take a photo off the list; one that waits is taken back. @param {Photo} photo */
  async drop(photo) {
    photo.sending?.pause();
    this.list = this.list.filter((each) => each !== photo);
    if (photo.thumb) URL.revokeObjectURL(photo.thumb);
    this.#tell();
    this.#next();
    if (photo.task && ["queued", "processing"].includes(photo.state)) {
      await remove(`/tasks/${photo.task}`).catch(() => {});
    }
  }

  clearEnded() {
    this.list = this.list.filter((photo) => photo.state !== "success" && photo.state !== "refused");
    this.#tell();
  }

  /** @param {Partial<Photo>} changes @param {Photo} photo */
  #change(photo, changes) {
    Object.assign(photo, changes);
    this.#tell();
  }

  /** @param {import("./api.js").Happening} happening */
  #heard(happening) {
    this.#connected(true);
    const photo = this.list.find((each) => each.task === happening.task_id);
    if (photo) this.#apply(photo, happening);
  }

  /** @param {Photo} photo @param {{ status: string, progress?: number, task_id?: string, draft?: import("./api.js").Draft,
   *   error?: { code: string, detail: string } }} found */
  #apply(photo, found) {
    const state = STATES[found.status];
    if (!state || photo.state === "sending" || photo.state === "paused") return;
    if (state === "success" && photo.state !== "success" && photo.startedAt) photo.tookS = (Date.now() - photo.startedAt) / 1000;
    const why = found.error ? sentence(found.error.code, found.error.detail) : "";
    const share = state === "processing" ? (found.progress ?? photo.share) : 0;
    const task = found.task_id ?? photo.task;
    const draft = state === "processing" ? (found.draft ?? photo.draft) : null;
    this.#change(photo, { state, why, share, task, draft });
  }

  async #poll() {
    const awaited = this.list.filter((photo) => photo.ticket && ["arrived", "queued", "processing"].includes(photo.state));
    // Each in its turn, however many there are.
    const first = awaited.length ? this.#turn % awaited.length : 0;
    this.#turn += ASKED_AT_ONCE;
    for (const photo of [...awaited.slice(first), ...awaited.slice(0, first)].slice(0, ASKED_AT_ONCE)) {
      try {
        const found = await get(`/uploads/${photo.ticket}`);
        this.#connected(true);
        // The notification of what was sent is on its way.
        if (photo.state === "arrived" && (found.status === "waiting" || found.status === "queued") && !found.task_id) continue;
        this.#apply(photo, found);
      } catch (error) {
        if (said(error) === t("net.lost")) this.#connected(false);
      }
    }
  }

  /** @param {boolean} connected */
  #connected(connected) {
    if (this.connected === connected) return;
    this.connected = connected;
    this.#tell();
  }

  /** At most ten times a second, however many photos move. */
  #tell() {
    if (this.#telling) return;
    this.#telling = true;
    setTimeout(() => {
      this.#telling = false;
      this.#keepSoon();
      this.dispatchEvent(new Event("change"));
    }, TELL_MS);
  }

  /** Whoever signs out leaves nothing behind. */
  forget() {
    for (const photo of this.list) photo.sending?.pause();
    this.list = [];
    this.#keep();
  }

  /** Now and then, and when the page goes: of hundreds of photos it takes its time. */
  #keepSoon() {
    this.#keeping ||= setTimeout(() => this.#keep(), KEEP_MS);
  }

  #keep() {
    clearTimeout(this.#keeping);
    this.#keeping = 0;
    const kept = this.list.slice(-KEPT).map(({ key, name, size, state, ticket, task, workflow, signature, batch, item, job, joined, told, why, tookS }) => ({
      key, name, size, state, ticket, task, workflow, signature, batch, item, job, joined, told, why, tookS }));
    localStorage.setItem(STORED, JSON.stringify(kept));
  }

  #recall() {
    for (const kept of JSON.parse(localStorage.getItem(STORED) ?? "[]")) {
      const photo = Object.assign(new Photo(kept.key, kept.name, kept.size, null), kept);
      if (["ready", "sending", "paused", "lost"].includes(photo.state)) photo.state = "missing";
      if (photo.state !== "refused") this.list.push(photo);
      if (photo.state === "missing" && photo.ticket) this.#ask(photo);
    }
  }

  /** @param {Photo} photo */
  async #ask(photo) {
    const found = await get(`/uploads/${photo.ticket}`).catch(() => null);
    if (found) this.#apply(photo, found);
  }
}

/** `Grandma.JPG` → `.jpg`; empty without one. @param {string} name */
const ending = (name) => /\.[^.]+$/.exec(name)?.[0].toLowerCase() ?? "";

/** The media type by the name: browsers do not know them all. @param {string} name */
function typeOf(name) {
  const letters = ending(name).slice(1);
  return TYPES[letters] ?? `image/${letters}`;
}

/** The same file chosen again gives the same digits. @param {File} file */
function fingerprint(file) {
  const text = `${file.name}\n${file.size}\n${file.lastModified}`;
  // Two times FNV-1a of 32 bits: this tells one person's files apart; it guards nothing.
  let [one, two] = [0x811c9dc5, 0x9747b28c];
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    one = Math.imul(one ^ code, 0x01000193);
    two = Math.imul(two ^ (code + 31), 0x01000193);
  }
  return [one, two].map((part) => (part >>> 0).toString(16).padStart(8, "0")).join("") + `-${file.size}`;
}

export const photos = new Photos();
