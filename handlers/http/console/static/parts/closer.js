// @ts-check
// A picture drawn of tiles, as large as its box: the coarsest always, and what is seen as sharp as the screen can show it.
import { LitElement, html } from "../vendor/lit.js";
import { said } from "../api.js";
import { Tiles } from "./tiles.js";

/** Kept in memory: about a megabyte each. */
const MOST_KEPT = 120;
const MOST_AT_ONCE = 6;

/** @typedef {import("./tiles.js").Tile} Tile */

export class Closer extends LitElement {
  static properties = { task: {}, of: {}, alt: {} };

  constructor() {
    super();
    this.task = "";
    this.of = "result";
    this.alt = "";
    /** @type {Tiles | null} */
    this.tiles = null;
    /** The latest used stand last. @type {Map<string, ImageBitmap>} */
    this.kept = new Map();
    /** @type {Set<string>} */
    this.loading = new Set();
    this.ending = new AbortController();
    this.place = { zoom: 1, x: 0, y: 0 };
    this.frame = 0;
    this.resized = new ResizeObserver(() => this.#soon());
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.resized.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.resized.disconnect();
    this.#forget();
    // Should it be put back, it opens its picture again.
    this.tiles = null;
  }

  /** @param {Map<string, unknown>} changed */
  updated(changed) {
    if (changed.has("task") || changed.has("of")) this.#open();
  }

  /** The width of the whole picture, or 0 before it is known. */
  get width() {
    return this.tiles?.width ?? 0;
  }

  get height() {
    return this.tiles?.height ?? 0;
  }

  /** Show the picture enlarged about the middle of the box, and moved. @param {number} zoom @param {number} x @param {number} y */
  show(zoom, x, y) {
    this.place = { zoom, x, y };
    this.#soon();
  }

  #forget() {
    this.ending.abort();
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const bitmap of this.kept.values()) bitmap.close();
    this.kept.clear();
    this.loading.clear();
  }

  async #open() {
    this.#forget();
    const ending = (this.ending = new AbortController());
    const tiles = new Tiles(this.task, this.of);
    try {
      await tiles.open(ending.signal);
    } catch (error) {
      if (!ending.signal.aborted) this.dispatchEvent(new CustomEvent("failed", { detail: said(error) }));
      return;
    }
    if (ending.signal.aborted) return;
    this.tiles = tiles;
    this.dispatchEvent(new CustomEvent("opened"));
    this.#soon();
  }

  #soon() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.#draw();
    });
  }

  #draw() {
    const canvas = this.querySelector("canvas");
    const context = canvas?.getContext("2d");
    const tiles = this.tiles;
    if (!canvas || !context || !tiles) return;
    const ratio = devicePixelRatio;
    const [width, height] = [this.clientWidth * ratio, this.clientHeight * ratio];
    if (!width || !height) return;
    if (canvas.width !== Math.round(width) || canvas.height !== Math.round(height)) {
      [canvas.width, canvas.height] = [Math.round(width), Math.round(height)];
    }
    const { zoom, x, y } = this.place;
    const scale = Math.min(width / tiles.width, height / tiles.height) * zoom;
    const left = width / 2 + x * ratio - (tiles.width * scale) / 2;
    const top = height / 2 + y * ratio - (tiles.height * scale) / 2;
    const part = { left: -left / scale, top: -top / scale, right: (width - left) / scale, bottom: (height - top) / scale };
    const wanted = Math.min(tiles.coarsest, 2 ** Math.max(0, Math.floor(Math.log2(1 / scale))));
    context.clearRect(0, 0, width, height);
    for (let factor = tiles.coarsest; factor >= wanted; factor /= 2) {
      for (const tile of tiles.of(factor, part)) {
        const bitmap = this.kept.get(tile.name);
        if (bitmap) {
          const [l, t] = [Math.round(left + tile.x * scale), Math.round(top + tile.y * scale)];
          const [r, b] = [Math.round(left + (tile.x + tile.width) * scale), Math.round(top + (tile.y + tile.height) * scale)];
          context.drawImage(bitmap, l, t, r - l, b - t);
        }
      }
    }
    const middle = { x: (part.left + part.right) / 2, y: (part.top + part.bottom) / 2 };
    const apart = (/** @type {Tile} */ tile) => Math.hypot(tile.x + tile.width / 2 - middle.x, tile.y + tile.height / 2 - middle.y);
    const sharp = tiles.of(wanted, part).sort((a, b) => apart(a) - apart(b));
    this.#load(tiles, [...tiles.of(tiles.coarsest, part), ...sharp.slice(0, MOST_KEPT / 2)]);
  }

  /** Ask for what is not there yet, the first ones first. @param {Tiles} tiles @param {Tile[]} wanted */
  #load(tiles, wanted) {
    const { signal } = this.ending;
    for (const tile of wanted) {
      const bitmap = this.kept.get(tile.name);
      if (bitmap) {
        this.kept.delete(tile.name);
        this.kept.set(tile.name, bitmap);
      } else if (!this.loading.has(tile.name) && this.loading.size < MOST_AT_ONCE) {
        this.loading.add(tile.name);
        tiles.load(tile).then((loaded) => this.#keep(tile, loaded, signal), (error) => this.#miss(tile, error, signal));
      }
    }
  }

  /** @param {Tile} tile @param {ImageBitmap} bitmap @param {AbortSignal} signal */
  #keep(tile, bitmap, signal) {
    if (signal.aborted) {
      bitmap.close();
      return;
    }
    this.loading.delete(tile.name);
    this.kept.set(tile.name, bitmap);
    for (const [name, oldest] of this.kept) {
      if (this.kept.size <= MOST_KEPT) break;
      oldest.close();
      this.kept.delete(name);
    }
    this.#soon();
  }

  /** A tile that did not come stays asked for, so that it is not asked for again at once; the others go on.
   * @param {Tile} tile @param {unknown} error @param {AbortSignal} signal */
  #miss(tile, error, signal) {
    if (signal.aborted) return;
    this.dispatchEvent(new CustomEvent("missed", { detail: said(error) }));
    setTimeout(() => {
      if (signal.aborted) return;
      this.loading.delete(tile.name);
      this.#soon();
    }, 2000);
  }

  render() {
    return html`<canvas role="img" aria-label=${this.alt}></canvas>`;
  }
}
customElements.define("dr-closer", Closer);
