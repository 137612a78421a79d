// @ts-check
// A picture in tiles of every scale, read by ranges out of one stored ZIP: whatever its size, what is asked for is what
// is seen. The ZIP's own directory says where each tile lies; the names in it are those of IIIF's Image API.
import { Refusal, post } from "../api.js";
import { t } from "./words.js";

export const TILE_PX = 512;
const POLL_MS = 700;
/** The most that the end of a ZIP is read at once: the directory of 180 megapixels. */
const TAIL_BYTES = 1 << 16;
const END_BYTES = 22;
const END_MARK = 0x06054b50;
const ENTRY_MARK = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;

/** @typedef {{ name: string, factor: number, x: number, y: number, width: number, height: number }} Tile
 *   A tile: in pixels of the whole picture, which it shows `factor` times smaller. */

export class Tiles {
  /** @param {string} task @param {string} of */
  constructor(task, of) {
    this.path = `/tasks/${task}/tiles?of=${of}`;
    this.url = "";
    this.bytes = 0;
    this.width = 0;
    this.height = 0;
    /** Where in the ZIP each entry begins, and its length. @type {Map<string, [number, number]>} */
    this.entries = new Map();
  }

  /** Wait until a worker has made them, and learn where they lie. @param {AbortSignal} signal */
  async open(signal) {
    while (!(await this.#link())) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      signal.throwIfAborted();
    }
    await this.#readDirectory();
  }

  /** The scale from which the whole picture fits into one tile. */
  get coarsest() {
    let factor = 1;
    while (Math.max(this.width, this.height) > TILE_PX * factor) factor *= 2;
    return factor;
  }

  /** The tiles of a scale that show a part of the picture.
   * @param {number} factor @param {{ left: number, top: number, right: number, bottom: number }} part
   * @returns {Tile[]} */
  of(factor, part) {
    const side = TILE_PX * factor;
    const found = [];
    for (let y = Math.floor(Math.max(0, part.top) / side) * side; y < Math.min(part.bottom, this.height); y += side) {
      for (let x = Math.floor(Math.max(0, part.left) / side) * side; x < Math.min(part.right, this.width); x += side) {
        const [width, height] = [Math.min(side, this.width - x), Math.min(side, this.height - y)];
        const size = `${Math.ceil(width / factor)},${Math.ceil(height / factor)}`;
        found.push({ name: `${x},${y},${width},${height}/${size}/0/default.jpg`, factor, x, y, width, height });
      }
    }
    return found;
  }

  /** @param {Tile} tile @returns {Promise<ImageBitmap>} */
  async load(tile) {
    const entry = this.entries.get(tile.name);
    if (!entry) throw new Refusal(404, "not_found", t("cmp.untiled"));
    const data = await this.#read(...entry);
    return createImageBitmap(new Blob([data], { type: "image/jpeg" }));
  }

  /** Whether there is a link to them now; false: they are being made. */
  async #link() {
    const found = await post(this.path, undefined);
    if (found.status !== "done") return false;
    Object.assign(this, { url: found.url, bytes: found.bytes, width: found.width, height: found.height });
    return true;
  }

  /** Bytes of the ZIP. A link that is used up is asked for again, once. @param {number} start @param {number} length */
  async #read(start, length) {
    for (const again of [true, false]) {
      const range = `bytes=${start}-${start + length - 1}`;
      const answer = await fetch(this.url, { headers: { Range: range } }).catch(() => null);
      if (answer?.status === 206) return answer.arrayBuffer();
      if (!again || !(await this.#link())) break;
    }
    throw new Refusal(0, "connection", t("net.lost"));
  }

  async #readDirectory() {
    const tailBytes = Math.min(this.bytes, TAIL_BYTES);
    const tail = new DataView(await this.#read(this.bytes - tailBytes, tailBytes));
    const end = tailBytes - END_BYTES;
    if (tail.getUint32(end, true) !== END_MARK) throw new Refusal(404, "not_found", t("cmp.untiled"));
    const size = tail.getUint32(end + 12, true);
    const start = tail.getUint32(end + 16, true);
    const missing = this.bytes - tailBytes - start;
    const directory = missing > 0 ? await this.#read(start, size) : tail.buffer.slice(-missing, size - missing);
    this.entries = entriesOf(new DataView(directory));
  }
}

/** @param {DataView} directory */
function entriesOf(directory) {
  const found = new Map();
  const text = new TextDecoder();
  for (let at = 0; at + ENTRY_BYTES <= directory.byteLength && directory.getUint32(at, true) === ENTRY_MARK; ) {
    const [length, nameBytes] = [directory.getUint32(at + 20, true), directory.getUint16(at + 28, true)];
    const more = directory.getUint16(at + 30, true) + directory.getUint16(at + 32, true);
    const name = text.decode(new Uint8Array(directory.buffer, directory.byteOffset + at + ENTRY_BYTES, nameBytes));
    found.set(name, [directory.getUint32(at + 42, true) + LOCAL_BYTES + nameBytes, length]);
    at += ENTRY_BYTES + nameBytes + more;
  }
  return found;
}
