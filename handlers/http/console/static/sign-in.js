// @ts-check
// Uses up the one-time link that a person opened. The token stands behind `#`, where no server, no log and no `Referer`
// sees it; it leaves the address before anything else happens.
import { html, render } from "./vendor/lit.js";
import { preferred, speak, t } from "./parts/words.js";
import { byProvider } from "./parts/provider.js";
import { applyTheme } from "./parts/theme.js";

const [token, name = ""] = location.hash.slice(1).split("&");
/** Whether the OpenID provider led back here without signing anybody in. */
const isRefused = location.search === "?refused";
history.replaceState(null, "", location.pathname);
applyTheme();
await speak(preferred());

const state = /** @type {HTMLElement} */ (document.getElementById("state"));

/** @param {string} heading @param {string} sentence */
function show(heading, sentence) {
  render(html`<h2>${heading}</h2><p>${sentence}</p>${byProvider()}<p><code>darkroom console</code></p>`, state);
}

/** @param {string} text */
async function begin(text) {
  render(html`<p>${t("signin.busy")}</p>`, state);
  try {
    const answer = await fetch("session", { method: "POST", body: text });
    if (answer.ok) {
      localStorage.setItem("name", decodeURIComponent(name));
      location.replace("./");
    } else if (answer.status === 401) {
      show(t("signin.refused"), t("signin.refused.s"));
    } else {
      show(t("signin.failed"), (await answer.json()).detail);
    }
  } catch {
    show(t("signin.failed"), t("net.lost"));
  }
}

if (token) await begin(token);
else if (isRefused) show(t("signin.failed"), t("signin.oidc.refused"));
else show(t("signin.out"), t("signin.out.s"));
