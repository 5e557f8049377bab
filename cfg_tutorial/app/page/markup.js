// Writes numbers, words and elements as markup. Knows nothing of what they are about.

const ENTITIES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ENTITIES[c]);

/** Return a number with at most some digits, a dash where there is none. */
function number(value, digits = 3) {
  const none = value === null || value === undefined || Number.isNaN(value);
  return none ? "–" : String(+value.toFixed(digits));
}
const range = (low, high) =>
  low === null || low === undefined ? "" : ` [${number(low)}, ${number(high)}]`;

/** Return an element as text; attributes are escaped, those without a value left out. */
function element(name, attributes, inner = "") {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(
      ([key, value]) => `${key}="${typeof value === "number" ? number(value) : escape(value)}"`,
    );
  return `<${[name, ...written].join(" ")}>${inner}</${name}>`;
}

const path = (d, attributes) => element("path", { d, ...attributes });
const rect = (x, y, width, height, attributes) =>
  element("rect", { x, y, width, height, ...attributes });
const textAt = (x, y, text, more = {}) =>
  element("text", { x, y, fill: "var(--ink)", "font-size": 11, ...more }, escape(text));

const MIDDLE = { "text-anchor": "middle" };
const END = { "text-anchor": "end" };
const BOLD = { "font-weight": 600 };
const GRID = { stroke: "var(--line)", "stroke-width": 0.6 };

/** Return the colour to draw with: black lines are white in the dark. */
const ink = (colour) => (colour === "#000000" ? "var(--ink)" : colour);

/** Return round numbers between two ends, at most seven. */
function ticks(low, high) {
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((s) => (high - low) / s <= 6.01);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => +((first + i) * step).toFixed(6));
}

const swatch = (inner) => element("svg", { viewBox: "0 0 26 12", "aria-hidden": "true" }, inner);

/** Return a legend of pairs: a name and its mark. */
const legend = (pairs) =>
  pairs.map(([name, mark]) => `<span>${mark}${escape(name)}</span>`).join("");

const options = (names) =>
  names.map((name, i) => element("option", { value: i }, escape(name))).join("");
