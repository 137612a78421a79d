// Types alone, for `tsc --checkJs`; the code is lit.js beside it.
export { LitElement, html, svg, nothing, render } from "lit";
export { repeat } from "lit/directives/repeat.js";
export { classMap } from "lit/directives/class-map.js";
export { ref, createRef } from "lit/directives/ref.js";
export { live } from "lit/directives/live.js";
