// Composes the figures of curves, their legends and rows. Knows nothing of pictures or of classes.

const together = (id, measure, said) => ({
  id,
  measure,
  against: "scale",
  title: `All domains on one axis: ${said}`,
  together: true,
});
const paired = (id, measure, said) => ({
  id,
  measure,
  against: "scale",
  title: `Paired differences of ${said}, seed by seed`,
  paired: true,
});
const figures = [
  ...page.figures,
  together("one_axis_coverage", "mode_coverage", "mode coverage"),
  together("one_axis_modes", "relative_modes", "effective modes over those at scale 1"),
  paired("paired_coverage", "mode_coverage", "mode coverage"),
  paired("paired_modes", "effective_modes", "effective modes"),
];

// Of data sets only, as in the lessons: no mode and no source has one of them.
const COLOURS = ["#332288", "#DC267F", "#8C510A", "#6BAE23", "#785EF0", "#44AA99"];
const scaleSpan = [Math.min(...page.scales), Math.max(...page.scales)];

/** Return a panel: what all panels of a figure share, its curves and what is its own. */
function panelOf(figure, domain, curves, own) {
  const yName = short(figure.measure);
  const byScale = figure.against === "scale";
  const names = curves.map((c) => c.name).join("; ");
  return {
    domain,
    curves,
    yName,
    xName: byScale ? "guidance scale" : short(figure.against),
    title: figure.together ? domain : `${domain}: ${yName}`,
    alt: `${figure.title}, ${domain}: ${names}. The numbers are in the table below.`,
    x: byScale ? scaleSpan : spread(curves, 0.5, 0.9, "x"),
    cursor: byScale ? scaleNow() : undefined,
    ...own,
  };
}

/** Return the one panel that holds every domain's own curve. */
function commonPanel(figure) {
  const curves = page.domains.map((d, i) => {
    const curve = curveOf(d, d.drawn);
    if (!curve) return null;
    const name = `${d.name}, ${page.sources[curve.source].name}`;
    const style = { name, colour: COLOURS[i % COLOURS.length], dash: "" };
    return makeCurve(curve, figure.measure, figure.against, style);
  });
  const found = curves.filter(Boolean);
  return panelOf(figure, "all domains", found, { y: spread(found, 0, 1) });
}

/** Return a domain's panel of differences within each seed. */
function pairedPanel(figure, domain) {
  const { name, colour } = page.sources[domain.drawn];
  const styles = {
    exact: { name: `${name} minus exact, same noise`, colour: "#CC79A7", dash: "6 3" },
    "scale 1": { name: `${name}, minus its own at scale 1`, colour, dash: "" },
  };
  const curves = domain.paired
    .filter((p) => p.measure === figure.measure && p.method === state.method)
    .map((p) => {
      const curve = { measures: { [figure.measure]: p } };
      return makeCurve(curve, figure.measure, "scale", styles[p.against]);
    });
  return panelOf(figure, domain.name, curves, { y: spread(curves, -0.1, 0.1), level: 0 });
}

/** Return a domain's panel of every source; against a measure, other methods stand by in grey. */
function domainPanel(figure, domain) {
  const { measure, against } = figure;
  const byScale = against === "scale";
  const curves = domain.curves
    .filter((c) => ofMethod(c) || !byScale)
    .map((c) => {
      const source = page.sources[c.source];
      const method = c.method === "none" || page.methods.length < 2 ? "" : `, ${c.method}`;
      return makeCurve(c, measure, against, {
        name: source.name + method,
        colour: ofMethod(c) ? source.colour : "#8a8a8a",
        dash: source.dash,
        marks: !byScale && c.source === domain.drawn && ofMethod(c),
      });
    })
    .filter(Boolean);
  const low = measure === "alignment" ? 0.5 : 0;
  const high = measure === "effective_modes" ? 2 : 1;
  const own = { y: spread(curves, low, high), band: domain.perfect[measure] };
  const real = domain.real[measure] ?? undefined;
  const control = at(drawnSeries(domain, "alignment"), 0)?.mean;
  if (byScale) {
    own.level = real;
    own.control = measure === "alignment" ? control : undefined;
  } else {
    own.star = real === undefined ? undefined : [domain.real[against], real];
    own.prior = control;
  }
  return panelOf(figure, domain.name, curves, own);
}

/** Return a figure's panels: one per domain, or one of all. */
function panelsOf(figure) {
  if (figure.together) return [commonPanel(figure)];
  const one = figure.paired ? pairedPanel : domainPanel;
  return page.domains.map((domain) => one(figure, domain));
}

/** Return a legend of what the panels hold: pairs of a name and its mark. */
function legendOf(panels) {
  const quiet = (d, dash, width) =>
    path(d, { stroke: "var(--quiet)", "stroke-dasharray": dash, "stroke-width": width });
  const shade = (fill, opacity) => rect(0, 0, 26, 12, { fill, opacity });
  const curves = panels.flatMap((p) => p.curves);
  const marks = new Map();
  for (const c of curves) {
    const look = { stroke: ink(c.colour), "stroke-width": 2.5, "stroke-dasharray": c.dash };
    marks.set(c.name, path("M0 6H26", look));
  }
  const seed = path("M0 6H26", { stroke: "var(--ink)", "stroke-width": 0.8 });
  const banded = curves.some((c) => (c.low || []).some((v) => v !== null));
  const controlled = panels.some((p) => p.prior !== undefined || p.control !== undefined);
  if (curves.some((c) => c.seeds.length)) marks.set("one seed (thin)", seed);
  if (banded) marks.set("95 % t interval over seeds", shade("var(--ink)", 0.2));
  if (panels.some((p) => p.band)) marks.set("perfect sampler, 95 %", shade("var(--perfect)", 0.5));
  if (panels.some((p) => p.level)) marks.set("fresh real data", quiet("M0 6H26", "1.5 2.5", 1.5));
  if (panels.some((p) => p.star)) marks.set("★ fresh real data", "");
  if (controlled) marks.set("control: alignment at scale 0", quiet("M13 0V12", "4 2"));
  return [...marks].map(([name, mark]) => [name, swatch(mark)]);
}

/** Return a figure's numbers, a row each. */
function figureRows(figure) {
  return panelsOf(figure).flatMap(({ domain, curves, band, level, star }) => {
    const rows = curves.flatMap((c) => c.rows.map((r) => ({ domain, ...r })));
    if (band) rows.push({ domain, curve: "perfect sampler, 95 %", low: band[0], high: band[1] });
    const real = { domain, curve: "fresh real data" };
    if (level) rows.push({ ...real, [figure.measure]: level });
    if (star) rows.push({ ...real, [figure.measure]: star[1], [figure.against]: star[0] });
    return rows;
  });
}

function buildFigures() {
  const one = (f) => `<figure id="figure-${f.id}"${f.together ? ' class="single"' : ""}>
    <h3>${escape(f.title)}</h3><div class="grid"></div><div class="legend"></div>
    <figcaption></figcaption>${tools(f.id, f.title)}</figure>`;
  byId("curves").innerHTML = figures.map(one).join("");
}

function drawFigures() {
  for (const figure of figures) {
    const panels = panelsOf(figure).filter((p) => p.curves.length);
    const place = byId(`figure-${figure.id}`);
    const cells = place.querySelector(".grid");
    cells.innerHTML = panels.map(() => '<div class="cell"></div>').join("");
    panels.forEach((p, i) => mount(cells.children[i], { ...p, id: `${figure.id}-${i}` }));
    place.querySelector(".legend").innerHTML = legend(legendOf(panels));
    place.querySelector("figcaption").textContent = `${figure.title}. ${sources()}.`;
  }
}
