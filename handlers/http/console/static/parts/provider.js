// @ts-check
// Signing in by an OpenID provider, where whoever runs Darkroom has set one.
import { html, nothing } from "../vendor/lit.js";
import { t } from "./words.js";

const isThere = document.querySelector("meta[name=oidc]")?.getAttribute("content") === "yes";

/** Having signed out here, sign out at the provider, too. */
export function leaveProvider() {
  if (isThere) location.assign("oidc/sign-out");
}

/** The way to the provider; nothing where there is none. */
export const byProvider = () => (isThere ? html`<p><a class="button main" href="oidc">${t("signin.oidc")}</a></p>` : nothing);
