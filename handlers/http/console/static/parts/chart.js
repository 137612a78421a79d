// @ts-check
// Stacked bars as SVG: coloured by the style sheet, read out by their label, sharp on paper.
import { html, svg } from "../vendor/lit.js";
import { number } from "./words.js";

const WIDTH = 560;
const HEIGHT = 190;
const LEFT = 40;
const BOTTOM = 22;
const TOP = 10;
const LINES = 4;

/** A round number that is not less. @param {number} most */
function ceiling(most) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  const steps = [1, 2, 4, 5, 10].map((factor) => factor * power);
  return Math.max(LINES, steps.find((step) => step >= most) ?? most);
}

/** @param {string} label @param {number[][]} series of as many values each @param {string[]} names */
export function bars(label, series, names) {
  const sums = names.map((_, i) => series.reduce((sum, values) => sum + values[i], 0));
  const most = ceiling(Math.max(...sums));
  const pitch = (WIDTH - LEFT - 6) / Math.max(1, names.length);
  /** @param {number} value */
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / most);
  const ticks = Array.from({ length: LINES + 1 }, (_, i) => (most * i) / LINES);
  const every = Math.ceil(names.length / 6);
  return html`
    <svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label=${label}>
      ${ticks.map((tick) => svg`<line class="grid" x1=${LEFT} x2=${WIDTH} y1=${y(tick)} y2=${y(tick)}/>
        <text x=${LEFT - 6} y=${y(tick) + 4} text-anchor="end">${number(tick)}</text>`)}
      ${names.map((name, i) => bar(series, i, LEFT + pitch * i, pitch * 0.72, y))}
      ${names.map((name, i) => (i % every ? "" : svg`<text x=${LEFT + pitch * (i + 0.36)} y=${HEIGHT - 5} text-anchor="middle">${name}</text>`))}
    </svg>`;
}

/** @param {number[][]} series @param {number} i @param {number} x @param {number} width @param {(value: number) => number} y */
function bar(series, i, x, width, y) {
  let below = 0;
  return series.map((values, n) => {
    const from = below;
    below += values[i];
    return svg`<rect class="s${n}" x=${x} width=${width} y=${y(below)} height=${Math.max(0, y(from) - y(below))}/>`;
  });
}
