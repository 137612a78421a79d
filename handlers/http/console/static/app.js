// @ts-check
// The frame: who is signed in, which view is shown, language and theme. Each view is a file in views/.
import { LitElement, html, nothing } from "./vendor/lit.js";
import { get, said, signOut } from "./api.js";
import { icon } from "./parts/icons.js";
import { byProvider, leaveProvider } from "./parts/provider.js";
import { applyTheme, isDark, turnTheme } from "./parts/theme.js";
import { preferred, speak, t } from "./parts/words.js";
import { photos } from "./photos.js";
import { scenes } from "./scenes.js";
import "./views/restore.js";
import "./views/look.js";
import "./views/history.js";
import "./views/pair.js";
import "./views/batches.js";
import "./views/operate.js";
import "./views/report.js";

class App extends LitElement {
  static properties = {
    view: { state: true },
    rest: { state: true },
    language: { state: true },
    out: { state: true },
    problem: { state: true },
    ready: { state: true },
  };

  constructor() {
    super();
    this.view = "";
    /** What stands behind the view's name in the address. */
    this.rest = "";
    /** The address that was left for this one. */
    this.from = "";
    this.here = "";
    this.language = "en";
    /** Whether nobody is signed in. */
    this.out = false;
    this.problem = "";
    this.ready = false;
    this.operator = false;
  }

  createRenderRoot() {
    // One style sheet for all, and one document for those who do not see it.
    return this;
  }

  async connectedCallback() {
    super.connectedCallback();
    applyTheme();
    addEventListener("hashchange", () => this.#route());
    addEventListener("signed-out", () => (this.out = true));
    photos.addEventListener("change", () => this.requestUpdate());
    await this.#speak(preferred());
    this.#route();
    await this.#load();
  }

  async #load() {
    try {
      await scenes.load();
      const me = await get("/me");
      this.operator = me.operator;
      photos.begin(me.limits.upload_bytes, me.suffixes);
      this.ready = true;
    } catch (error) {
      this.problem = said(error);
    }
  }

  #route() {
    const [view, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
    this.view = view;
    this.rest = rest.join("/");
    if (location.hash !== this.here) [this.from, this.here] = [this.here, location.hash];
    scrollTo(0, 0);
    // Whoever does not see the page hears that another one is there.
    this.updateComplete.then(() => {
      const heading = this.querySelector("h1");
      if (heading && document.activeElement !== document.body) heading.focus();
    });
  }

  /** @param {string} language */
  async #speak(language) {
    await speak(language);
    localStorage.setItem("language", language);
    this.language = language;
  }

  /** @param {boolean} everywhere */
  async #leave(everywhere) {
    await signOut(everywhere).catch(() => {});
    photos.forget();
    localStorage.removeItem("name");
    this.out = true;
    leaveProvider();
  }

  render() {
    return html`
      ${this.#bar()}
      <main id="main" class=${this.view || "restore"}>
        ${this.problem ? html`<p class="banner problem" role="alert">${icon("triangle-alert")}<span>${this.problem}</span>
          <button @click=${() => location.reload()}>${t("net.again")}</button></p>` : nothing}
        ${photos.connected ? nothing : html`<p class="banner" role="status">${icon("refresh-cw")}<span>${t("net.offline")}</span></p>`}
        ${this.out ? this.#signedOut() : this.ready ? this.#shown() : nothing}
      </main>`;
  }

  #shown() {
    // The language is passed on so that a view is drawn anew when it changes.
    if (this.view === "look") return html`<dr-look .photo=${this.rest} .language=${this.language}></dr-look>`;
    if (this.view === "pair") return html`<dr-pair .tasks=${this.rest} .language=${this.language}></dr-pair>`;
    if (this.view === "batches") return html`<dr-batches .job=${this.rest} .language=${this.language}></dr-batches>`;
    if (this.view === "history") return html`<dr-history .first=${this.rest.replace(/^with\//, "")} .operator=${this.operator} .language=${this.language}></dr-history>`;
    if (this.view === "report") return html`<dr-report .of=${this.rest} .from=${this.from} .language=${this.language}></dr-report>`;
    if (this.view === "operate") return html`<dr-operate .language=${this.language}></dr-operate>`;
    return html`<dr-restore .language=${this.language}></dr-restore>`;
  }

  #signedOut() {
    return html`
      <section class="sign-in">
        <img src=${new URL("mark.svg", import.meta.url).pathname} alt="" width="56" height="56">
        <h1 tabindex="-1">${t("signin.out")}</h1>
        ${byProvider()}
        <p>${t("signin.out.s")}</p>
        <p><code>darkroom console</code></p>
      </section>`;
  }

  #bar() {
    const other = this.language === "zh" ? "en" : "zh";
    const name = localStorage.getItem("name") || t(this.operator ? "me.operator" : "me.you");
    return html`
      <header class="bar">
        <a class="brand" href="#/"><img src=${new URL("mark.svg", import.meta.url).pathname} alt="" width="26" height="26">Darkroom</a>
        <nav aria-label=${t("nav")} ?hidden=${this.out}>
          ${this.#tab("", "nav.restore", "sparkles", ["", "look"])}
          ${this.#tab("history", "nav.history", "layers", ["history", "pair", "batches", "report"])}
          ${this.operator ? this.#tab("operate", "nav.operate", "gauge", ["operate"]) : nothing}
        </nav>
        <span class="who">
          <button class="quiet" aria-label=${t("lang.other")} @click=${() => this.#speak(other)}>${icon("languages")}<span lang=${other === "zh" ? "zh-CN" : "en"}>${t("lang.other")}</span></button>
          <button class="quiet round" aria-label=${t("theme")} @click=${() => this.#turn()}>${icon(isDark() ? "sun" : "moon")}</button>
          <details class="me" ?hidden=${this.out}><summary>${name}</summary><div>
            <button class="quiet" @click=${() => this.#leave(false)}>${t("me.out")}</button>
            <button class="quiet" @click=${() => this.#leave(true)}>${t("me.everywhere")}</button>
          </div></details>
        </span>
      </header>`;
  }

  #turn() {
    turnTheme();
    this.requestUpdate();
  }

  /** @param {string} to @param {string} name @param {string} drawing @param {string[]} views */
  #tab(to, name, drawing, views) {
    const current = views.includes(this.view) ? "page" : "false";
    return html`<a href="#/${to}" aria-current=${current}>${icon(drawing)}<span>${t(name)}</span></a>`;
  }
}
customElements.define("dr-app", App);
