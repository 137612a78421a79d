// A typed client of Darkroom's HTTP API. `schema.ts` is generated from the API's own description.
import createClient, { type Client } from "openapi-fetch";
import type { components, paths } from "./schema.js";

export type UploadRequest = components["schemas"]["UploadRequest"];
export type UploadState = components["schemas"]["UploadState"];
export type Ticket = components["schemas"]["Ticket"];
export type Problem = { status: number; code: string; detail: string };

const POLL_MS = 500;
const ENDED = new Set(["expired", "success", "duplicate", "rejected", "failed"]);

/** A refusal of the API, with its code and its sentence. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

export class Darkroom {
  /** Every route of the API, typed: `darkroom.api.GET("/v1/tasks/{task_id}", …)`. */
  readonly api: Client<paths>;

  constructor(url: string, key: string) {
    const headers = { Authorization: `Bearer ${key}` };
    this.api = createClient<paths>({ baseUrl: url.replace(/\/+$/, ""), headers });
  }

  /** Sends a photo from here to the object store; its ticket. Throws `Refusal`. */
  async submit(photo: Blob, wishes: Partial<UploadRequest> & { filename: string }): Promise<string> {
    const body = { content_type: photo.type || "application/octet-stream", bytes: photo.size, ...wishes };
    const ticket = answered(await this.api.POST("/v1/uploads", { body: body as UploadRequest }));
    const form = new FormData();
    for (const [name, value] of Object.entries(ticket.post.fields)) form.append(name, value);
    form.append("file", photo, wishes.filename);
    // The form is signed: the store must not see the key.
    const sent = await fetch(ticket.post.url, { method: "POST", body: form });
    if (!sent.ok) throw new Refusal(sent.status, "storage_unavailable", `the store refused ${wishes.filename}`);
    return ticket.ticket;
  }

  /** The state of an upload that has ended. Throws `Refusal`. */
  async wait(ticket: string, timeoutMs = 3_600_000): Promise<UploadState> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const path = { params: { path: { ticket } } };
      const state = answered(await this.api.GET("/v1/uploads/{ticket}", path));
      if (ENDED.has(state.status)) return state;
      if (Date.now() + POLL_MS > deadline) throw new Refusal(408, "slow", `ticket ${ticket} is ${state.status}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** The restored photo, a PNG. Throws `Refusal`. */
  async result(taskId: string): Promise<Blob> {
    const path = { params: { path: { task_id: taskId } }, parseAs: "blob" as const };
    const found = await this.api.GET("/v1/tasks/{task_id}/result", path);
    if (!found.response.ok) throw refusalOf(found.response.status, found.error);
    return found.data as unknown as Blob;
  }
}

function answered<T>(found: { data?: T; error?: unknown; response: Response }): T {
  if (found.data === undefined) throw refusalOf(found.response.status, found.error);
  return found.data;
}

function refusalOf(status: number, error: unknown): Refusal {
  const problem = (error ?? {}) as Partial<Problem>;
  return new Refusal(status, problem.code ?? "http", problem.detail ?? `the API answers ${status}`);
}
