// What the page holds and what is chosen on it. Knows nothing of how anything is shown.

const page = JSON.parse(document.getElementById("data").textContent);
const state = {
  at: Math.max(0, page.scales.indexOf(1)), // place of the scale in page.scales
  labels: Object.fromEntries(page.domains.map((d) => [d.name, 0])), // each domain's class
  method: page.methods[0],
  stop: -1, // of the tour; -1 outside it
  timer: 0, // of Play
};

const byId = (id) => document.getElementById(id);
const domainOf = (name) => page.domains.find((d) => d.name === name);
const scaleNow = () => page.scales[state.at];
const labelOf = (domain) => state.labels[domain.name];
const classOf = (domain) => domain.classes[labelOf(domain)];

/** Return a curve's mean, band and seeds at a scale, or undefined where it has none. */
function at(series, scale) {
  const i = series ? series.scale.indexOf(scale) : -1;
  if (i < 0) return undefined;
  const seeds = Object.values(series.seeds).map((values) => values[i]);
  return { mean: series.mean[i], low: series.low[i], high: series.high[i], seeds };
}

const ofMethod = (one) => one.method === state.method || one.method === "none";
const curveOf = (domain, source) => domain.curves.find((c) => c.source === source && ofMethod(c));

/** Return a measure of a domain's own curve, the one of the source that is drawn. */
const drawnSeries = (domain, measure) => curveOf(domain, domain.drawn)?.measures[measure];

const sharesOf = (domain, source) =>
  domain.shares.find((s) => s.source === source && s.label === labelOf(domain) && ofMethod(s));

/** Return the pictures of a domain's class, and the frame among them at the slider's scale. */
function sampleNow(domain) {
  const shown = (s) => s.method === state.method && s.label === labelOf(domain);
  const ours = domain.samples.find(shown);
  return ours && { ...ours, frame: ours.frames.find((f) => f.scale === scaleNow()) };
}
