// @ts-check
// Darkroom's HTTP API, as the signed-in page sees it. A refusal is a problem document, whose sentence is for people.
import { has, t } from "./parts/words.js";

const API = "/v1";

/** A request that did not succeed. `status` 0: the connection was lost. */
export class Refusal extends Error {
  /** @param {number} status @param {string} code @param {string} detail @param {number} [retryAfterS] */
  constructor(status, code, detail, retryAfterS = 0) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** The sentence of an error in the page's language, or else in the API's own.
 * @param {string} code @param {string} detail */
export const sentence = (code, detail) => (has(`error.${code}`) ? t(`error.${code}`) : detail);

/** The sentence of whatever was thrown. @param {unknown} error */
export function said(error) {
  if (error instanceof Refusal) return sentence(error.code, error.message);
  return error instanceof Error ? error.message : String(error);
}

/** A file that the server makes, with the name under which it is saved. @param {string} path */
export async function file(path) {
  const answer = await sent(API + path, {});
  if (!answer.ok) throw await refusal(answer);
  const name = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("Content-Disposition") ?? "")?.[1] ?? "";
  return { name: decodeURIComponent(name), blob: await answer.blob() };
}

/** @param {string} method @param {string} path @param {unknown} [body] @param {Record<string, string>} [headers]
 * @returns {Promise<any>} */
async function ask(method, path, body, headers = {}) {
  const json = body === undefined ? undefined : JSON.stringify(body);
  if (json) headers = { "Content-Type": "application/json", ...headers };
  const answer = await sent(path, { method, headers, body: json });
  if (!answer.ok) throw await refusal(answer);
  return answer.status === 204 ? null : answer.json();
}

/** @param {string} path @param {RequestInit} request */
async function sent(path, request) {
  try {
    return await fetch(path, request);
  } catch {
    throw new Refusal(0, "connection", t("net.lost"));
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  if (answer.status === 401) dispatchEvent(new CustomEvent("signed-out"));
  const retryAfterS = Number(answer.headers.get("Retry-After") ?? 0);
  return new Refusal(answer.status, problem.code ?? "http", problem.detail ?? answer.statusText, retryAfterS);
}

/** @param {string} path @returns {Promise<any>} */
export const get = (path) => ask("GET", API + path);

/** @param {string} path @param {unknown} body @param {Record<string, string>} [headers] @returns {Promise<any>} */
export const post = (path, body, headers) => ask("POST", API + path, body, headers);

/** @param {string} path @returns {Promise<any>} */
export const remove = (path) => ask("DELETE", API + path);

/** @param {boolean} everywhere */
export const signOut = (everywhere) => ask("DELETE", `session${everywhere ? "?everywhere=true" : ""}`);

/** The address of a task's picture; it leads to the store. @param {string} task @param {string} part */
export const picture = (task, part) => `${API}/tasks/${task}/${part}`;

/** @typedef {{ number: number, signature: string }} Draft what can be seen of a task while it is worked on */
/** @typedef {{ task_id: string, status: string, attempt?: number, progress?: number, draft?: Draft,
 *   error?: { code: string, detail: string } }} Happening */

/** Follow a stream of happenings; the returned function ends it.
 * @param {string} path @param {(happening: Happening) => void} tell @param {(open: boolean) => void} [connected] */
export function follow(path, tell, connected = () => {}) {
  const source = new EventSource(API + path);
  for (const name of ["queued", "progress", "finished"]) {
    source.addEventListener(name, (event) => tell(JSON.parse(/** @type {MessageEvent} */ (event).data)));
  }
  source.onopen = () => connected(true);
  // One that is closed was refused; one that was lost tries again by itself.
  source.onerror = () => connected(source.readyState === EventSource.CLOSED);
  return () => source.close();
}
