// @ts-check
// A brush over the photo: what it covers is repaired. Strokes are text as the API has them: `9 120,40 180,300; 15 20,20`,
// each the width of the brush and its points, in pixels of the photo.
//
// Without a pointer: arrows move the brush (with Shift, ten times as far), the space bar puts it down and lifts it, [ and ]
// change its width, Ctrl+Z takes the last stroke back.
import { LitElement, html, nothing, svg } from "../vendor/lit.js";
import { parsed } from "../masks.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

/** Widths of the brush, as shares of the photo's shorter side. */
const WIDTHS = { thin: 0.008, middle: 0.02, thick: 0.05 };
const NAMES = /** @type {(keyof typeof WIDTHS)[]} */ (Object.keys(WIDTHS));
/** Points nearer than this share of the brush's width say nothing new. */
const APART = 0.3;
/** How far an arrow moves the brush, as a share of the photo's shorter side. */
const STEP = 0.005;
/** What a browser keeps and draws without trouble. */
const MOST_CHARACTERS = 100_000;

/** @type {Record<string, [number, number]>} */
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** @typedef {[number, number]} Point */

class Brush extends LitElement {
  static properties = { language: {}, strokes: {}, photo: {}, width: { state: true }, drawing: { state: true }, at: { state: true },
    isFull: { state: true } };

  constructor() {
    super();
    this.language = "";
    this.strokes = "";
    /** @type {HTMLImageElement | null} */
    this.photo = null;
    /** @type {keyof typeof WIDTHS} */
    this.width = "middle";
    /** The stroke being drawn. @type {Point[]} */
    this.drawing = [];
    /** Where the brush is that the keyboard moves. @type {Point | null} */
    this.at = null;
    this.isFull = false;
  }

  createRenderRoot() {
    return this;
  }

  get #size() {
    return { width: this.photo?.naturalWidth || 1, height: this.photo?.naturalHeight || 1 };
  }

  get #brush() {
    const { width, height } = this.#size;
    return Math.max(1, Math.round(Math.min(width, height) * WIDTHS[this.width]));
  }

  /** The nearest point of the photo. @param {number} x @param {number} y @returns {Point} */
  #within(x, y) {
    const { width, height } = this.#size;
    return [Math.round(Math.min(width - 1, Math.max(0, x))), Math.round(Math.min(height - 1, Math.max(0, y)))];
  }

  /** A point of the photo under the pointer. @param {PointerEvent} event @returns {Point} */
  #point(event) {
    const sheet = /** @type {SVGSVGElement} */ (this.querySelector("svg.sheet"));
    const matrix = sheet.getScreenCTM();
    if (!matrix) return [0, 0];
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    return this.#within(x, y);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    event.stopPropagation();
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    this.at = null;
    this.drawing = [this.#point(event)];
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.at) this.#draw(this.#point(event));
  }

  /** @param {Point} point */
  #draw(point) {
    const last = this.drawing.at(-1);
    if (last && Math.hypot(point[0] - last[0], point[1] - last[1]) > this.#brush * APART) this.drawing = [...this.drawing, point];
  }

  #up() {
    if (!this.drawing.length) return;
    const stroke = `${this.#brush} ${this.drawing.map((point) => point.join(",")).join(" ")}`;
    const all = this.strokes ? `${this.strokes}; ${stroke}` : stroke;
    this.drawing = [];
    this.isFull = all.length > MOST_CHARACTERS;
    if (!this.isFull) this.#tell(all);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const arrow = ARROWS[event.key];
    const size = ["[", "]"].indexOf(event.key);
    if (arrow) this.#step(arrow, event.shiftKey ? 10 : 1);
    else if (event.key === " ") this.#lower();
    else if (size >= 0) this.width = NAMES[Math.min(2, Math.max(0, NAMES.indexOf(this.width) + (size ? 1 : -1)))];
    else if (event.key === "z" && (event.ctrlKey || event.metaKey)) this.#undo();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {[number, number]} arrow @param {number} times */
  #step([right, down], times) {
    const { width, height } = this.#size;
    const [x, y] = this.at ?? [width / 2, height / 2];
    const far = Math.max(1, Math.min(width, height) * STEP) * times;
    this.at = this.#within(x + right * far, y + down * far);
    if (this.drawing.length) this.drawing = [...this.drawing, this.at];
  }

  /** Put the brush down, or lift it. */
  #lower() {
    const { width, height } = this.#size;
    this.at ??= this.#within(width / 2, height / 2);
    if (this.drawing.length) this.#up();
    else this.drawing = [this.at];
  }

  #undo() {
    this.isFull = false;
    if (this.drawing.length) this.drawing = [];
    else this.#tell(this.strokes.split("; ").slice(0, -1).join("; "));
  }

  /** @param {string} strokes */
  #tell(strokes) {
    this.dispatchEvent(new CustomEvent("strokes", { detail: strokes, bubbles: true }));
  }

  render() {
    const { width, height } = this.#size;
    const drawn = parsed(this.strokes);
    if (this.drawing.length) drawn.push({ brush: this.#brush, points: this.drawing });
    return html`
      <svg class="sheet" viewBox="0 0 ${width} ${height}" aria-label=${`${t("brush.label")}. ${t("brush.keys")}`} role="application" tabindex="0"
        @pointerdown=${this.#down} @pointermove=${this.#move} @pointerup=${this.#up} @pointercancel=${this.#up} @keydown=${this.#key}>
        ${drawn.map(({ brush, points }) => svg`<polyline points=${line(points)} stroke-width=${brush}/>`)}
        ${this.at ? svg`<circle cx=${this.at[0]} cy=${this.at[1]} r=${this.#brush / 2}/>` : nothing}
      </svg>
      <p class="brushes">
        <span role="status">${t(this.isFull ? "brush.full" : "brush.hint")}</span>
        ${NAMES.map((name) => html`<button class="chip" aria-pressed=${this.width === name}
          @click=${() => (this.width = name)}>${t(`brush.${name}`)}</button>`)}
        ${this.strokes ? html`<button class="quiet" @click=${this.#undo}>${icon("undo")}${t("brush.undo")}</button>
          <button class="quiet" @click=${() => this.#tell("")}>${t("brush.clear")}</button>` : nothing}
      </p>`;
  }
}
customElements.define("dr-brush", Brush);

/** A line has two ends, that of a dot, too. @param {Point[]} points */
const line = (points) => (points.length > 1 ? points : [points[0], points[0]]).map((point) => point.join(",")).join(" ");
