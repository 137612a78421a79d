// @ts-check
// Brings one file to the store, by PUT or in parts. It pauses, goes on, and tries again by itself.
import { Refusal } from "./api.js";
import { t } from "./parts/words.js";

/** `etag`: of a part that is there already.
 * @typedef {{ number: number, bytes: number, url: string, etag?: string | null }} Part */
/** @typedef {{ ticket: string, put: { url: string, headers: Record<string, string> } | null,
 *   post: { url: string, fields: Record<string, string> },
 *   multipart: { parts: Part[], complete: string } | null, arrived?: boolean }} Ticket `arrived`: nothing is left to send */

const WAITS_MS = [1000, 2000, 5000, 10000, 20000, 30000];
/** A line on which nothing moves for so long is a lost one, whatever the browser thinks. */
const STALL_MS = 60_000;
/** The browser sets these itself, from what is sent. */
const NOT_OURS_TO_SET = new Set(["content-length", "host"]);
/** The ticket has run out, as after a long pause: another is drawn. */
const RUN_OUT = 403;

export class Sending {
  /** Part number → ETag of what has arrived. @type {Map<number, string>} */
  #arrived = new Map();
  /** @type {XMLHttpRequest | null} */
  #request = null;
  #wake = () => {};
  #redrawn = false;
  paused = false;

  /** @param {File} file @param {() => Promise<Ticket>} draw
   * @param {{ progress: (share: number) => void, lost: (waitS: number) => void }} tell */
  constructor(file, draw, tell) {
    this.file = file;
    this.draw = draw;
    this.tell = tell;
  }

  /** The ticket, once the whole file has arrived; null when it was paused. Throws `Refusal`.
   * @returns {Promise<Ticket | null>} */
  async run() {
    this.paused = false;
    try {
      const ticket = await this.#patiently(this.draw);
      await this.#send(ticket);
      return ticket;
    } catch (error) {
      if (this.paused) return null;
      if (error instanceof Refusal && error.status === RUN_OUT && !this.#redrawn) {
        this.#redrawn = true;
        // What has arrived is told by the renewed ticket.
        this.#arrived.clear();
        return this.run();
      }
      throw error;
    }
  }

  pause() {
    this.paused = true;
    this.#request?.abort();
    this.#wake();
  }

  /** Try at once what would be tried later. */
  hurry() {
    this.#wake();
  }

  /** @param {Ticket} ticket */
  async #send(ticket) {
    const { multipart, put, post } = ticket;
    if (ticket.arrived) return "";
    if (multipart) return this.#sendParts(multipart);
    if (put) return this.#patiently(() => this.#transfer("PUT", put.url, put.headers, this.file, 0));
    const form = new FormData();
    for (const [name, value] of Object.entries(post.fields)) form.append(name, value);
    form.append("file", this.file);
    return this.#patiently(() => this.#transfer("POST", post.url, {}, form, 0));
  }

  /** @param {{ parts: Part[], complete: string }} multipart */
  async #sendParts(multipart) {
    for (const part of multipart.parts) if (part.etag) this.#arrived.set(part.number, part.etag);
    let offset = 0;
    for (const part of multipart.parts) {
      const before = offset;
      offset += part.bytes;
      if (this.#arrived.has(part.number)) {
        this.tell.progress(offset / this.file.size);
        continue;
      }
      const blob = this.file.slice(before, offset);
      const etag = await this.#patiently(() => this.#transfer("PUT", part.url, {}, blob, before));
      this.#arrived.set(part.number, etag);
    }
    const list = [...this.#arrived].map(([n, etag]) => `<Part><PartNumber>${n}</PartNumber><ETag>${etag}</ETag></Part>`);
    const body = `<CompleteMultipartUpload>${list.join("")}</CompleteMultipartUpload>`;
    await this.#patiently(() => this.#complete(multipart.complete, body));
    return "";
  }

  /** @param {string} url @param {string} body */
  async #complete(url, body) {
    const answer = await fetch(url, { method: "POST", body }).catch(() => {
      throw lost();
    });
    const text = await answer.text();
    // The store may answer 200 and tell of an error in the body.
    if (!answer.ok || text.includes("<Error>")) throw refused(answer.ok ? 503 : answer.status);
  }

  /** @template T @param {() => Promise<T>} attempt @returns {Promise<T>} */
  async #patiently(attempt) {
    for (let tries = 0; ; tries++) {
      try {
        return await attempt();
      } catch (error) {
        const passing = error instanceof Refusal && error.passing;
        if (this.paused || !passing) throw error;
        const waitMs = Math.max(WAITS_MS[Math.min(tries, WAITS_MS.length - 1)], error.retryAfterS * 1000);
        this.tell.lost(waitMs / 1000);
        await this.#wait(waitMs);
        if (this.paused) throw error;
      }
    }
  }

  /** @param {number} waitMs */
  #wait(waitMs) {
    return new Promise((resolve) => {
      this.#wake = () => resolve(undefined);
      setTimeout(resolve, waitMs);
      addEventListener("online", () => resolve(undefined), { once: true });
    });
  }

  /** @param {string} method @param {string} url @param {Record<string, string>} headers @param {Blob | FormData} body
   * @param {number} before @returns {Promise<string>} */
  #transfer(method, url, headers, body, before) {
    return new Promise((resolve, reject) => {
      // `fetch` tells nothing of how far an upload is.
      const request = new XMLHttpRequest();
      this.#request = request;
      request.open(method, url);
      for (const [name, value] of Object.entries(headers)) {
        if (!NOT_OURS_TO_SET.has(name.toLowerCase())) request.setRequestHeader(name, value);
      }
      const giveUp = () => request.abort();
      let stalled = setTimeout(giveUp, STALL_MS);
      addEventListener("offline", giveUp);
      request.upload.onprogress = (event) => {
        clearTimeout(stalled);
        stalled = setTimeout(giveUp, STALL_MS);
        this.tell.progress((before + event.loaded) / this.file.size);
      };
      request.onload = () =>
        request.status < 300 ? resolve(request.getResponseHeader("ETag") ?? "") : reject(refused(request.status));
      request.onerror = () => reject(lost());
      request.onabort = () => reject(lost());
      request.onloadend = () => {
        clearTimeout(stalled);
        removeEventListener("offline", giveUp);
      };
      request.send(body);
    });
  }
}

const lost = () => new Refusal(0, "connection", t("net.lost"));

/** @param {number} status */
const refused = (status) => new Refusal(status, "store", t("send.refused", status));
