// @ts-check
// A brush over the photo: what it covers is repaired. Strokes are text as the API has them: `9 120,40 180,300; 15 20,20`,
// each the width of the brush and its points, in pixels of the photo.
import { LitElement, html, nothing, svg } from "../vendor/lit.js";
import { icon } from "./icons.js";
import { t } from "./words.js";

/** Widths of the brush, as shares of the photo's shorter side. */
const WIDTHS = { thin: 0.008, middle: 0.02, thick: 0.05 };
/** Points nearer than this share of the brush's width say nothing new. */
const APART = 0.3;
const MOST_CHARACTERS = 1500;

class Brush extends LitElement {
  static properties = { language: {}, strokes: {}, photo: {}, width: { state: true }, drawing: { state: true } };

  constructor() {
    super();
    this.language = "";
    this.strokes = "";
    /** @type {HTMLImageElement | null} */
    this.photo = null;
    /** @type {keyof typeof WIDTHS} */
    this.width = "middle";
    /** The stroke being drawn. @type {[number, number][]} */
    this.drawing = [];
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

  /** A point of the photo under the pointer. @param {PointerEvent} event @returns {[number, number]} */
  #point(event) {
    const sheet = /** @type {SVGSVGElement} */ (this.querySelector("svg.sheet"));
    const matrix = sheet.getScreenCTM();
    if (!matrix) return [0, 0];
    const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const { width, height } = this.#size;
    return [Math.round(Math.min(width - 1, Math.max(0, x))), Math.round(Math.min(height - 1, Math.max(0, y)))];
  }

  /** @param {PointerEvent} event */
  #down(event) {
    event.stopPropagation();
    /** @type {Element} */ (event.currentTarget).setPointerCapture(event.pointerId);
    this.drawing = [this.#point(event)];
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const last = this.drawing.at(-1);
    if (!last) return;
    const point = this.#point(event);
    if (Math.hypot(point[0] - last[0], point[1] - last[1]) > this.#brush * APART) this.drawing = [...this.drawing, point];
  }

  #up() {
    if (!this.drawing.length) return;
    const stroke = `${this.#brush} ${this.drawing.map((point) => point.join(",")).join(" ")}`;
    const all = this.strokes ? `${this.strokes}; ${stroke}` : stroke;
    this.drawing = [];
    if (all.length <= MOST_CHARACTERS) this.#tell(all);
  }

  #undo() {
    this.#tell(this.strokes.split("; ").slice(0, -1).join("; "));
  }

  /** @param {string} strokes */
  #tell(strokes) {
    this.dispatchEvent(new CustomEvent("strokes", { detail: strokes, bubbles: true }));
  }

  render() {
    const { width, height } = this.#size;
    const drawn = this.strokes ? this.strokes.split("; ").map(parsed) : [];
    if (this.drawing.length) drawn.push({ brush: this.#brush, points: this.drawing.map((point) => point.join(",")).join(" ") });
    return html`
      <svg class="sheet" viewBox="0 0 ${width} ${height}" aria-label=${t("brush.label")} role="img"
        @pointerdown=${this.#down} @pointermove=${this.#move} @pointerup=${this.#up} @pointercancel=${this.#up}>
        ${drawn.map(({ brush, points }) => svg`<polyline points=${points.includes(" ") ? points : `${points} ${points}`} stroke-width=${brush}/>`)}
      </svg>
      <p class="brushes">
        <span>${t("brush.hint")}</span>
        ${Object.keys(WIDTHS).map((width) => html`<button class="chip" aria-pressed=${this.width === width}
          @click=${() => (this.width = /** @type {keyof typeof WIDTHS} */ (width))}>${t(`brush.${width}`)}</button>`)}
        ${this.strokes ? html`<button class="quiet" @click=${this.#undo}>${icon("undo")}${t("brush.undo")}</button>
          <button class="quiet" @click=${() => this.#tell("")}>${t("brush.clear")}</button>` : nothing}
      </p>`;
  }
}
customElements.define("dr-brush", Brush);

/** @param {string} stroke */
function parsed(stroke) {
  const [brush, ...points] = stroke.split(" ");
  return { brush: Number(brush), points: points.join(" ") };
}
