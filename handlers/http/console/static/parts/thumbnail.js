// @ts-check
// Small pictures of chosen files, made one after another: five hundred photos at their own size would fill the memory.

const SIDE = 160;
/** @type {Promise<unknown>} */
let last = Promise.resolve();

/** An address of a small picture; empty for what this browser cannot show. @param {File} file @returns {Promise<string>} */
export function thumbnail(file) {
  const made = last.then(() => make(file)).catch(() => "");
  last = made;
  return made;
}

/** @param {File} file */
async function make(file) {
  const bitmap = await createImageBitmap(file, { resizeWidth: SIDE, resizeQuality: "medium" });
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.8));
  return blob ? URL.createObjectURL(/** @type {Blob} */ (blob)) : "";
}
