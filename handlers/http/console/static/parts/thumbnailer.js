// @ts-check
// A worker: makes small pictures of files apart from the page, which would stand still while a large one is shrunk.

const SIDE = 160;

/** @param {MessageEvent<File>} asked */
onmessage = async ({ data: file }) => {
  // What this browser cannot show has none.
  postMessage(await make(file).catch(() => null));
};

/** @param {File} file */
async function make(file) {
  const bitmap = await createImageBitmap(file, { resizeWidth: SIDE, resizeQuality: "medium" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/webp", quality: 0.8 });
}
