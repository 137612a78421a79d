// @ts-check
// Small pictures of chosen files, made one after another: five hundred photos at their own size would fill the memory.

const ADDRESS = new URL("thumbnailer.js", import.meta.url).href;
/** The one script that the page runs as a worker, as its policy wants it said. */
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("thumbnails", { createScriptURL: () => ADDRESS });
/** @type {Worker | null} */
let worker = null;
/** @type {Promise<unknown>} */
let last = Promise.resolve();

/** An address of a small picture; empty for what this browser cannot show. @param {File} file @returns {Promise<string>} */
export function thumbnail(file) {
  const made = last.then(() => make(file)).catch(() => "");
  last = made;
  return made;
}

/** @param {File} file @returns {Promise<string>} */
function make(file) {
  const asked = (worker ??= new Worker(policy?.createScriptURL("") ?? ADDRESS));
  return new Promise((resolve) => {
    asked.onmessage = ({ data }) => resolve(data ? URL.createObjectURL(data) : "");
    asked.onerror = () => resolve("");
    asked.postMessage(file);
  });
}
