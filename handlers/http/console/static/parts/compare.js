// @ts-check
// Two pictures over each other and a line between them. For the keyboard and for screen readers the line is a range
// input; fingers and mice move it on the stage, where they also zoom and pan both pictures by one transform.
import { LitElement, html, nothing } from "../vendor/lit.js";
import { icon } from "./icons.js";
import { number, t } from "./words.js";
import "./brush.js";
import "./closer.js";

const NEAR_PX = 28;
const MOST = 40;
/** How far a key moves the pictures. */
const STEP_PX = 80;

export class Compare extends LitElement {
  static properties = {
    language: {},
    original: {},
    restored: {},
    draft: {},
    alt: {},
    originalTiles: {},
    restoredTiles: {},
    leftTiles: {},
    untiled: { state: true },
    stale: { type: Boolean },
    share: {},
    problem: {},
    brush: { type: Boolean },
    strokes: {},
    left: {},
    right: {},
    mode: { state: true },
    split: { state: true },
    holding: { state: true },
    missing: { state: true },
  };

  constructor() {
    super();
    this.language = "";
    this.original = "";
    this.restored = "";
    /** What is done so far, transparent where nothing is: it lies over the original. */
    this.draft = "";
    this.alt = "";
    /** The task whose original, or whose result, is drawn of tiles where the browser cannot show it whole; empty: none. */
    this.originalTiles = "";
    this.restoredTiles = "";
    /** The task whose result is drawn of tiles in the original's place. */
    this.leftTiles = "";
    /** Whether the original's tiles cannot be had either. */
    this.untiled = false;
    this.stale = false;
    /** How far the next picture is, from 0 to 1. */
    this.share = 0;
    /** Why there is no newer picture, for people; empty: nothing is wrong. */
    this.problem = "";
    /** Whether a person may draw what is to be repaired. */
    this.brush = false;
    this.strokes = "";
    /** What the two sides are called, where they are no before and after. */
    this.left = "";
    this.right = "";
    /** @type {"split" | "side" | "brush"} */
    this.mode = "split";
    this.split = 50;
    this.holding = false;
    /** Whether this browser cannot show the original. */
    this.missing = false;
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    /** What each finger or the mouse does. @type {Map<number, { x: number, y: number, split: boolean }>} */
    this.pointers = new Map();
    this.wheel = (/** @type {WheelEvent} */ event) => this.#wheel(event);
    this.addEventListener("keydown", (event) => this.#key(event));
  }

  createRenderRoot() {
    return this;
  }

  firstUpdated() {
    // Not passive: the page is not to scroll meanwhile.
    this.#stage.addEventListener("wheel", this.wheel, { passive: false });
  }

  /** @param {Map<string, unknown>} changed */
  willUpdate(changed) {
    if (changed.has("original")) this.missing = false;
    if (changed.has("originalTiles")) this.untiled = false;
    if (changed.has("brush") && !this.brush && this.mode === "brush") this.mode = "split";
  }

  get #stage() {
    return /** @type {HTMLElement} */ (this.querySelector(".stage"));
  }

  /** Zoom at which a pixel of the restored picture is one of the screen. */
  get #oneToOne() {
    const [width, height] = this.#size();
    if (!width) return 1;
    const box = this.#stage.getBoundingClientRect();
    const fit = Math.min(box.width / width, box.height / height);
    return 1 / (fit * devicePixelRatio);
  }

  /** Width and height of the restored picture, or of the only one. @returns {[number, number]} */
  #size() {
    const layer = this.querySelector(this.restored || this.restoredTiles ? ".after" : ".before");
    const closer = /** @type {import("./closer.js").Closer | null | undefined} */ (layer?.querySelector("dr-closer"));
    if (closer?.width) return [closer.width, closer.height];
    const image = /** @type {HTMLImageElement | null | undefined} */ (layer?.querySelector("img"));
    return [image?.naturalWidth ?? 0, image?.naturalHeight ?? 0];
  }

  /** @param {number} zoom @param {number} [x] @param {number} [y] where it stays the same, from the stage's middle */
  #zoomTo(zoom, x = 0, y = 0) {
    const next = Math.min(Math.max(MOST, this.#oneToOne), Math.max(1, zoom));
    const factor = next / this.zoom;
    this.x = x - (x - this.x) * factor;
    this.y = y - (y - this.y) * factor;
    this.zoom = next;
    if (next === 1) this.x = this.y = 0;
    this.requestUpdate();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    const box = this.#stage.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    this.#zoomTo(this.zoom * Math.exp(-event.deltaY / 400), x, y);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (this.mode === "brush" || /** @type {Element} */ (event.target).closest("button")) return;
    const box = this.#stage.getBoundingClientRect();
    const line = box.left + (box.width * this.split) / 100;
    const near = Math.abs(event.clientX - line) < NEAR_PX;
    const split = this.mode === "split" && this.pointers.size === 0 && (near || this.zoom === 1);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, split });
    this.#stage.setPointerCapture(event.pointerId);
    if (split) this.#splitAt(event.clientX);
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) return;
    if (this.pointers.size === 2) this.#pinch(event);
    else if (pointer.split) this.#splitAt(event.clientX);
    else {
      this.x += event.clientX - pointer.x;
      this.y += event.clientY - pointer.y;
      this.requestUpdate();
    }
    pointer.x = event.clientX;
    pointer.y = event.clientY;
  }

  /** @param {PointerEvent} event */
  #pinch(event) {
    const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const before = this.pointers.get(event.pointerId);
    if (!other || !before) return;
    const apart = (/** @type {number} */ x, /** @type {number} */ y) => Math.hypot(x - other.x, y - other.y);
    this.#zoomTo((this.zoom * apart(event.clientX, event.clientY)) / Math.max(1, apart(before.x, before.y)));
  }

  /** @param {PointerEvent} event */
  #up(event) {
    this.pointers.delete(event.pointerId);
  }

  /** @param {number} clientX */
  #splitAt(clientX) {
    const box = this.#stage.getBoundingClientRect();
    this.split = Math.min(100, Math.max(0, ((clientX - box.left) / box.width) * 100));
  }

  // By the object model: a `style` attribute is what the page's policy forbids.
  updated() {
    const numbers = {
      "--split": `${this.holding ? 100 : this.split}%`,
      "--x": `${this.x}px`,
      "--y": `${this.y}px`,
      "--zoom": String(this.zoom),
    };
    for (const [name, value] of Object.entries(numbers)) this.style.setProperty(name, value);
    for (const closer of this.querySelectorAll("dr-closer")) {
      /** @type {import("./closer.js").Closer} */ (closer).show(this.zoom, this.x, this.y);
    }
  }

  render() {
    return html`
      <div class="stage ${this.mode} ${this.stale ? "stale" : ""} ${this.zoom > 1 ? "zoomed" : ""} ${this.restored ? "" : "single"} ${this.draft ? "drafted" : ""}"
        @pointerdown=${this.#down} @pointermove=${this.#move} @pointerup=${this.#up} @pointercancel=${this.#up}>
        <div class="layer before">${this.#before()}</div>
        ${this.restored ? html`
          <div class="layer after"><img src=${this.restored} crossorigin="anonymous" alt="${this.right || t("after")}: ${this.alt}" draggable="false"
            @load=${() => this.requestUpdate()}>${this.#closer(this.restoredTiles, "result", this.right || t("after"))}</div>` : nothing}
        ${this.draft ? html`<div class="layer"><img src=${this.draft} crossorigin="anonymous" alt="${t("cmp.draft")}: ${this.alt}" draggable="false"></div>` : nothing}
        ${this.mode === "brush" ? html`<dr-brush .language=${this.language} .strokes=${this.strokes} .photo=${this.querySelector(".before img")}></dr-brush>` : nothing}
        <span class="tag left">${this.left || t("before")}</span>
        ${this.restored ? html`<span class="tag right">${this.right || t("after")}</span>` : nothing}
        ${this.draft ? html`<span class="tag right">${t("cmp.draft")}</span>` : nothing}
        ${this.mode === "split" && this.restored ? html`
          <div class="line" aria-hidden="true"><i>${icon("move-horizontal")}</i></div>
          <input type="range" min="0" max="100" step="1" .value=${String(this.split)} aria-label=${t("cmp.slider")}
            @input=${(/** @type {Event} */ event) => (this.split = /** @type {HTMLInputElement} */ (event.target).valueAsNumber)}>` : nothing}
        ${this.#notice()}
      </div>
      ${this.#tools()}`;
  }

  #before() {
    if (!this.original || this.missing) {
      const closer = this.untiled ? nothing : this.#closer(this.originalTiles, "original", this.left || t("before"));
      return html`<p class="no-original" role="status">${t(closer === nothing ? "cmp.missing" : "cmp.tiling")}</p>${closer}`;
    }
    // What lies in the store is asked for without our cookie; a chosen file is nobody else's.
    return html`<img src=${this.original} crossorigin="anonymous" alt="${this.left || t("before")}: ${this.alt}" draggable="false"
      @load=${() => this.requestUpdate()} @error=${() => (this.missing = true)}>${this.#closer(this.leftTiles, "result", this.left)}`;
  }

  /** A picture drawn of tiles. @param {string} task @param {string} of @param {string} name */
  #closer(task, of, name) {
    if (!task) return nothing;
    return html`<dr-closer .task=${task} .of=${of} .alt="${name}: ${this.alt}"
      @opened=${() => this.requestUpdate()} @failed=${() => (this.untiled ||= of === "original")}></dr-closer>`;
  }

  /** Zoom and move by keys, wherever in the comparison one is. @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, () => void>} */
    const keys = {
      "+": () => this.#zoomTo(this.zoom * 1.5),
      "=": () => this.#zoomTo(this.zoom * 1.5),
      "-": () => this.#zoomTo(this.zoom / 1.5),
      0: () => this.#zoomTo(1),
      1: () => this.#zoomTo(this.#oneToOne),
    };
    /** @type {Record<string, [number, number]>} */
    const ways = { ArrowLeft: [STEP_PX, 0], ArrowRight: [-STEP_PX, 0], ArrowUp: [0, STEP_PX], ArrowDown: [0, -STEP_PX] };
    const way = event.shiftKey && this.zoom > 1 ? ways[event.key] : undefined;
    if (this.mode === "brush" || event.ctrlKey || event.metaKey || event.altKey || !(way || keys[event.key])) return;
    event.preventDefault();
    if (way) {
      this.x += way[0];
      this.y += way[1];
      this.requestUpdate();
    } else keys[event.key]();
  }

  #notice() {
    if (this.problem) {
      return html`<p class="notice problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span>
        <button @click=${() => this.dispatchEvent(new CustomEvent("retry"))}>${t("set.retry")}</button></p>`;
    }
    if (!this.stale) return nothing;
    const percent = this.share ? ` ${number(this.share * 100, 0)} %` : "";
    return html`<p class="notice" role="status"><span class="spinner" aria-hidden="true"></span><span>${t(this.restored ? "cmp.stale" : "cmp.first")}${percent}</span></p>`;
  }

  #tools() {
    const percent = (this.zoom / this.#shownOneToOne()) * 100;
    return html`
      <div class="tools" role="toolbar" aria-label=${t("cmp.tools")}>
        <span class="group">
          ${this.#mode("split", "square-split-horizontal", t("cmp.split"))}
          ${this.#mode("side", "columns-2", t("cmp.side"))}
          <button class="quiet" aria-label=${t("cmp.hold")} aria-pressed=${this.holding} ?disabled=${!this.restored}
            @pointerdown=${() => (this.holding = true)} @pointerup=${() => (this.holding = false)} @pointerleave=${() => (this.holding = false)}
            @keydown=${(/** @type {KeyboardEvent} */ event) => (this.holding = event.key === " " || event.key === "Enter")}
            @keyup=${() => (this.holding = false)} @blur=${() => (this.holding = false)}>${icon("eye")}<span>${t("cmp.hold")}</span></button>
          ${this.brush ? this.#mode("brush", "brush", t("cmp.brush")) : nothing}
        </span>
        <span class="group">
          <button class="quiet round" aria-label=${t("cmp.out")} @click=${() => this.#zoomTo(this.zoom / 1.5)}>${icon("zoom-out")}</button>
          <output>${number(percent, 0)} %</output>
          <button class="quiet round" aria-label=${t("cmp.in")} @click=${() => this.#zoomTo(this.zoom * 1.5)}>${icon("zoom-in")}</button>
          <button class="quiet" @click=${() => this.#zoomTo(1)}>${t("cmp.fit")}</button>
          <button class="quiet" @click=${() => this.#zoomTo(this.#oneToOne)}>${t("cmp.one")}</button>
        </span>
      </div>`;
  }

  #shownOneToOne() {
    return this.hasUpdated ? this.#oneToOne : 1;
  }

  /** @param {"split" | "side" | "brush"} mode @param {string} drawing @param {string} label */
  #mode(mode, drawing, label) {
    return html`<button class="quiet" aria-label=${label} aria-pressed=${this.mode === mode}
      @click=${() => (this.mode = mode)}>${icon(drawing)}<span>${label}</span></button>`;
  }
}
customElements.define("dr-compare", Compare);
