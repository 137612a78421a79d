// @ts-check
// What was painted over a photo, as requests have it: strokes as text while they are few, else a picture that is sent.
import { post } from "./api.js";
import { Sending } from "./send.js";

/** What fits into a request beside all else. */
const MOST_CHARACTERS = 1500;
/** The API scales a mask to its photo; a browser draws no picture of any size. */
const MOST_SIDE_PX = 4096;

/** Size and strokes → the ticket under which the mask was sent. @type {Map<string, Promise<string>>} */
const tickets = new Map();

/** @param {string} strokes @returns {{ brush: number, points: [number, number][] }[]} */
export const parsed = (strokes) =>
  strokes ? strokes.split("; ").map((stroke) => {
    const [brush, ...points] = stroke.split(" ");
    return { brush: Number(brush), points: points.map((point) => /** @type {[number, number]} */ (point.split(",").map(Number))) };
  }) : [];

/** The parameters of a request. @param {Record<string, unknown>} params @param {HTMLImageElement | null} photo
 * @returns {Promise<Record<string, unknown>>} */
export async function withMask(params, photo) {
  const strokes = String(params.mask ?? "");
  if (strokes.length <= MOST_CHARACTERS || !photo) return params;
  const { naturalWidth, naturalHeight } = photo;
  const name = `${naturalWidth} ${naturalHeight} ${strokes}`;
  const sent = tickets.get(name) ?? send(strokes, naturalWidth, naturalHeight);
  tickets.set(name, sent);
  sent.catch(() => tickets.delete(name));
  return { ...params, mask: `ticket:${await sent}` };
}

/** @param {string} strokes @param {number} width @param {number} height of the photo [px] */
async function send(strokes, width, height) {
  const file = new File([await drawn(strokes, width, height)], "mask.png", { type: "image/png" });
  const request = { filename: file.name, content_type: file.type, bytes: file.size, workflow: "repair", start: false };
  const sending = new Sending(file, () => post("/uploads", request), { progress: () => {}, lost: () => {} });
  return /** @type {import("./send.js").Ticket} */ (await sending.run()).ticket;
}

/** @param {string} strokes @param {number} width @param {number} height @returns {Promise<Blob>} */
function drawn(strokes, width, height) {
  const scale = Math.min(1, MOST_SIDE_PX / Math.max(width, height));
  const sheet = Object.assign(document.createElement("canvas"), { width: Math.round(width * scale), height: Math.round(height * scale) });
  const pen = /** @type {CanvasRenderingContext2D} */ (sheet.getContext("2d"));
  pen.fillRect(0, 0, sheet.width, sheet.height);
  pen.scale(scale, scale);
  Object.assign(pen, { strokeStyle: "white", lineCap: "round", lineJoin: "round" });
  for (const { brush, points } of parsed(strokes)) {
    pen.lineWidth = brush;
    pen.beginPath();
    pen.moveTo(...points[0]);
    for (const point of points) pen.lineTo(...point);
    pen.stroke();
  }
  return new Promise((resolve, reject) => sheet.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("canvas"))), "image/png"));
}
