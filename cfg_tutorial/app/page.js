"use strict";
// Shows the records in #data: pictures by scale, curves with bands, tables, files to keep. Draws SVG as text.

const page = JSON.parse(document.getElementById("data").textContent);
const state = { at: Math.max(0, page.scales.indexOf(1)), label: 0, method: page.methods[0], stop: -1, timer: 0 };
const byId = (id) => document.getElementById(id);
const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);
const number = (v, digits = 3) => v === null || v === undefined || Number.isNaN(v) ? "–" : String(+v.toFixed(digits));
const scaleNow = () => page.scales[state.at];
const words = { relative_modes: "effective modes over those at scale 1", ...page.measures };
const short = (measure) => words[measure].split(/[,(]/)[0].trim();
const ink = (colour) => colour === "#000000" ? "var(--ink)" : colour;  // black lines are white in the dark
const range = (low, high) => low === null || low === undefined ? "" : ` [${number(low)}, ${number(high)}]`;

/** Return a curve's mean, band and seeds at a scale, or undefined where it has none. */
function at(series, scale) {
  const i = series ? series.scale.indexOf(scale) : -1;
  return i < 0 ? undefined : { mean: series.mean[i], low: series.low[i], high: series.high[i],
    seeds: Object.values(series.seeds).map((values) => values[i]) };
}
const curveOf = (domain, source) => domain.curves.find((c) => c.source === source && [state.method, "none"].includes(c.method));
const sharesOf = (domain, source) => domain.shares.find((s) => s.source === source && s.label === state.label
  && [state.method, "none"].includes(s.method));

// Charts -------------------------------------------------------------------------------------------

const W = 320, H = 240, LEFT = 40, RIGHT = 12, TOP = 24, BOTTOM = 38;
const ticks = (low, high) => {
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((s) => (high - low) / s <= 6.01);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => +((first + i) * step).toFixed(6));
};
const textAt = (x, y, text, more = "") => `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="var(--ink)" font-size="11" ${more}>${escape(text)}</text>`;

/** Return a chart as SVG text, and the points that a pointer finds on it.
 *
 * spec: title, x and y ([low, high]), xName, yName, alt, curves ({name, colour, dash, x, y, low, high, seeds, marks}),
 * band ([low, high] of a perfect sampler), level (fresh real data), star ([x, y] of it), control (alignment at scale 0; prior: on the x axis), cursor */
function chart(spec) {
  const sx = (v) => LEFT + (v - spec.x[0]) / (spec.x[1] - spec.x[0]) * (W - LEFT - RIGHT);
  const sy = (v) => H - BOTTOM - (v - spec.y[0]) / (spec.y[1] - spec.y[0]) * (H - TOP - BOTTOM);
  const pairs = (xs, ys) => xs.map((x, i) => [x, ys[i]]).filter(([x, y]) => x !== null && y !== null)
    .map(([x, y]) => `${sx(x).toFixed(1)},${sy(y).toFixed(1)}`).join(" ");
  const parts = [], hits = [];
  for (const t of ticks(...spec.x)) parts.push(`<path d="M${sx(t)} ${TOP}V${H - BOTTOM}" stroke="var(--line)" stroke-width=".6"/>`,
    textAt(sx(t), H - BOTTOM + 14, t, 'text-anchor="middle"'));
  for (const t of ticks(...spec.y)) parts.push(`<path d="M${LEFT} ${sy(t)}H${W - RIGHT}" stroke="var(--line)" stroke-width=".6"/>`,
    textAt(LEFT - 5, sy(t) + 4, t, 'text-anchor="end"'));
  if (spec.band) {
    const top = sy(Math.max(spec.band[1], spec.band[0])) - 1;
    parts.push(`<rect x="${LEFT}" y="${top}" width="${W - LEFT - RIGHT}" height="${sy(spec.band[0]) + 1 - top}" fill="var(--perfect)" opacity=".4"/>`);
  }
  if (spec.level !== undefined) parts.push(`<path d="M${LEFT} ${sy(spec.level)}H${W - RIGHT}" stroke="var(--quiet)" stroke-dasharray="1.5 2.5"/>`);
  if (spec.control !== undefined) parts.push(`<path d="M${LEFT} ${sy(spec.control)}H${W - RIGHT}" stroke="var(--quiet)" stroke-dasharray="4 2"/>`);
  if (spec.prior !== undefined) parts.push(`<path d="M${sx(spec.prior)} ${TOP}V${H - BOTTOM}" stroke="var(--quiet)" stroke-dasharray="4 2"/>`);
  if (spec.star) {
    parts.push(`<text x="${sx(spec.star[0])}" y="${sy(spec.star[1]) + 5}" text-anchor="middle" font-size="15" fill="var(--quiet)">★</text>`);
    hits.push([sx(spec.star[0]), sy(spec.star[1]), `fresh real data\n${spec.xName} ${number(spec.star[0])}\n${spec.yName} ${number(spec.star[1])}`]);
  }
  for (const c of spec.curves) {
    const colour = ink(c.colour);
    if (c.low && c.low.some((v) => v !== null)) parts.push(`<polygon points="${pairs(c.x, c.high)} ${pairs([...c.x].reverse(), [...c.low].reverse())}" fill="${colour}" opacity=".18"/>`);
    for (const [x, y] of c.seeds || []) parts.push(`<polyline points="${pairs(x, y)}" fill="none" stroke="${colour}" stroke-width=".7" opacity=".65"/>`);
    parts.push(`<polyline points="${pairs(c.x, c.y)}" fill="none" stroke="${colour}" stroke-width="2" stroke-dasharray="${c.dash || ""}"/>`);
    c.x.forEach((x, i) => {
      if (x === null || c.y[i] === null) return;
      parts.push(`<circle cx="${sx(x).toFixed(1)}" cy="${sy(c.y[i]).toFixed(1)}" r="2.4" fill="${colour}"/>`);
      if (c.marks) parts.push(textAt(sx(x) + 4, sy(c.y[i]) - 4, c.scale[i], 'font-weight="600"'));
      hits.push([sx(x), sy(c.y[i]), c.tips[i]]);
    });
  }
  const cursor = spec.cursor === undefined ? "" : `<path class="cursor" data-low="${spec.x[0]}" data-span="${spec.x[1] - spec.x[0]}" d="${cursorPath(spec.cursor, ...spec.x)}" stroke="var(--mark)" stroke-width="1.5" opacity=".7"/>`;
  const clip = `<clipPath id="${spec.id}-clip"><rect x="${LEFT - 3}" y="${TOP - 3}" width="${W - LEFT - RIGHT + 6}" height="${H - TOP - BOTTOM + 6}"/></clipPath>`;
  const axes = textAt(W / 2, 14, spec.title, 'text-anchor="middle" font-weight="600"') + textAt((LEFT + W - RIGHT) / 2, H - 6, spec.xName, 'text-anchor="middle"');
  const lines = parts.filter((p) => !p.startsWith("<text x") || p.includes("★") || p.includes("600"));
  const labels = parts.filter((p) => !lines.includes(p));
  return { hits, svg: `<svg class="chart" viewBox="0 0 ${W} ${H}" role="img" tabindex="0" aria-label="${escape(spec.alt)}"><defs>${clip}</defs>${axes}${labels.join("")}<g clip-path="url(#${spec.id}-clip)">${lines.join("")}${cursor}</g><circle class="ring" r="6" fill="none" stroke="var(--mark)" stroke-width="2" visibility="hidden"/></svg>` };
}
const cursorPath = (scale, low, high) => `M${(LEFT + (scale - low) / (high - low) * (W - LEFT - RIGHT)).toFixed(1)} ${TOP}V${H - BOTTOM}`;

/** Put a chart into a cell; pointing and the arrow keys read its values. */
function mount(cell, spec) {
  const { svg, hits } = chart(spec);
  cell.innerHTML = `${svg}<div class="tip" role="status" hidden></div>`;
  const tip = cell.querySelector(".tip"), ring = cell.querySelector(".ring"), element = cell.querySelector("svg");
  let now = -1;
  const show = (i) => {
    now = i;
    tip.hidden = i < 0;
    ring.setAttribute("visibility", i < 0 ? "hidden" : "visible");
    if (i < 0) return;
    const [x, y, text] = hits[i];
    ring.setAttribute("cx", x);
    ring.setAttribute("cy", y);
    tip.textContent = text;
    const share = cell.clientWidth / W;
    tip.style.left = `${Math.max(0, Math.min(x * share + 10, cell.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y * share + (y > H / 2 ? -tip.offsetHeight - 10 : 10)}px`;
  };
  element.addEventListener("pointermove", (event) => {
    const box = element.getBoundingClientRect(), x = (event.clientX - box.left) * W / box.width, y = (event.clientY - box.top) * H / box.height;
    const distance = hits.map((h) => Math.hypot(h[0] - x, h[1] - y)), nearest = distance.indexOf(Math.min(...distance));
    show(distance[nearest] < 30 ? nearest : -1);
  });
  element.addEventListener("pointerleave", () => show(-1));
  element.addEventListener("blur", () => show(-1));
  element.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step || !hits.length) return;
    event.preventDefault();
    show((now + step + hits.length) % hits.length);
  });
}

// Figures of curves --------------------------------------------------------------------------------

/** Return a curve of a measure against the scale or a second measure, joined by scale, as chart() takes it. */
function makeCurve(curve, measure, against, name, colour, dash, marks) {
  const y = curve.measures[measure], x = against === "scale" ? null : curve.measures[against];
  if (!y || (against !== "scale" && !x)) return null;
  const scale = y.scale.filter((s) => !x || x.scale.includes(s)), ofY = scale.map((s) => at(y, s)), ofX = x && scale.map((s) => at(x, s));
  const seeds = Object.keys(y.seeds).length;
  const pick = (name, i) => ofX ? ofX[i][name] : scale[i];
  return {
    name, colour, dash, marks, scale, x: scale.map((s, i) => pick("mean", i)), y: ofY.map((o) => o.mean),
    low: ofX ? null : ofY.map((o) => o.low), high: ofX ? null : ofY.map((o) => o.high),
    seeds: seeds < 2 ? [] : Object.keys(y.seeds).map((_, j) => [scale.map((s, i) => ofX ? ofX[i].seeds[j] : s), ofY.map((o) => o.seeds[j])]),
    tips: scale.map((s, i) => `${name}\nscale ${s}${ofX ? `, ${short(against)} ${number(ofX[i].mean)}${range(ofX[i].low, ofX[i].high)}` : ""}\n`
      + `${short(measure)} ${number(ofY[i].mean)}${range(ofY[i].low, ofY[i].high)}${seeds > 1 ? `\nseeds ${ofY[i].seeds.map((v) => number(v)).join(", ")}` : ""}`),
    rows: scale.map((s, i) => ({ curve: name, scale: s, ...(ofX ? { [against]: ofX[i].mean } : {}), [measure]: ofY[i].mean,
      low: ofY[i].low, high: ofY[i].high, seeds: ofY[i].seeds.map((v) => number(v, 6)).join(" ") })),
  };
}

const palette = Object.fromEntries(page.domains.map((d, i) => [d.name, ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8A800"][i % 6]]));
const spanX = [Math.min(...page.scales), Math.max(...page.scales)];
const spread = (curves, low, high, axis = "y") => {
  const values = curves.flatMap((c) => [...c[axis], ...c.seeds.flatMap((seed) => seed[axis === "y" ? 1 : 0])]).filter((v) => v !== null);
  const ends = [Math.min(low, ...values), Math.max(high, ...values)], step = (ends[1] - ends[0]) > 2 ? 0.5 : 0.1;
  return [Math.floor(ends[0] / step + 1e-6) * step, Math.ceil(ends[1] / step + 0.3) * step];  // wide t bands are cut off
};
const sourceName = (curve) => page.sources[curve.source].name + (curve.method === "none" || page.methods.length < 2 ? "" : `, ${curve.method}`);

/** Return a figure's panels: one a domain, or one of all. */
function panelsOf(figure) {
  const { measure, against } = figure, yName = short(measure), xName = against === "scale" ? "guidance scale" : short(against);
  const shared = { xName, yName, cursor: against === "scale" ? scaleNow() : undefined };
  const of = (domain, curves, more) => ({ ...shared, domain, title: figure.together ? domain : `${domain}: ${yName}`, curves, x: against === "scale" ? spanX : spread(curves, 0.5, 0.9, "x"),
    alt: `${figure.title}, ${domain}: ${curves.map((c) => c.name).join("; ")}. The numbers are in the table below.`, ...more });
  if (figure.together) {
    const curves = page.domains.map((d) => [d, curveOf(d, d.drawn)]).filter(([, c]) => c)
      .map(([d, c]) => makeCurve(c, measure, against, `${d.name}, ${page.sources[c.source].name}`, palette[d.name], "")).filter(Boolean);
    return [of("all domains", curves, { y: spread(curves, 0, 1) })];
  }
  if (figure.paired) return page.domains.map((d) => {
    const curves = d.paired.filter((p) => p.measure === measure && p.method === state.method).map((p) => {
      const drawn = page.sources[d.drawn].name, exact = p.against === "exact";
      const name = exact ? `${drawn} minus exact, same noise` : `${drawn}, minus its own at scale 1`;
      return makeCurve({ measures: { [measure]: p } }, measure, "scale", name, exact ? "#CC79A7" : page.sources[d.drawn].colour, exact ? "6 3" : "");
    });
    return of(d.name, curves, { y: spread(curves, -0.1, 0.1), level: 0 });
  });
  return page.domains.map((d) => {
    const curves = d.curves.filter((c) => c.method === "none" || c.method === state.method || against !== "scale").map((c) => {
      const style = page.sources[c.source], other = c.method !== "none" && c.method !== state.method;
      return makeCurve(c, measure, against, sourceName(c), other ? "#8a8a8a" : style.colour, style.dash, against !== "scale" && c.source === d.drawn && !other);
    }).filter(Boolean);
    const real = d.real[measure], control = at((curveOf(d, d.drawn) || { measures: {} }).measures.alignment, 0);
    const more = { y: spread(curves, measure === "alignment" ? 0.5 : 0, measure === "effective_modes" ? 2 : 1), band: d.perfect[measure] };
    if (against === "scale") {
      more.level = real ?? undefined;
      if (measure === "alignment" && control) more.control = control.mean;
    } else {
      if (real !== null && real !== undefined) more.star = [d.real[against], real];
      if (control) more.prior = control.mean;
    }
    return of(d.name, curves, more);
  });
}

const figures = [...page.figures,
  { id: "one_axis_coverage", measure: "mode_coverage", against: "scale", title: "All domains on one axis: mode coverage", together: true },
  { id: "one_axis_modes", measure: "relative_modes", against: "scale", title: "All domains on one axis: effective modes over those at scale 1", together: true },
  { id: "paired_coverage", measure: "mode_coverage", against: "scale", title: "Paired differences of mode coverage, seed by seed", paired: true },
  { id: "paired_modes", measure: "effective_modes", against: "scale", title: "Paired differences of effective modes, seed by seed", paired: true }];

const swatch = (inner) => `<svg viewBox="0 0 26 12" aria-hidden="true">${inner}</svg>`;
function legendOf(figure, panels) {
  const items = new Map(panels.flatMap((p) => p.curves).map((c) => [c.name, swatch(`<path d="M0 6H26" stroke="${ink(c.colour)}" stroke-width="2.5" stroke-dasharray="${c.dash || ""}"/>`)]));
  const add = (ok, name, inner) => ok && items.set(name, swatch(inner));
  add(panels.some((p) => p.curves.some((c) => c.seeds.length)), "one seed (thin)", '<path d="M0 6H26" stroke="var(--ink)" stroke-width=".8"/>');
  add(panels.some((p) => p.curves.some((c) => (c.low || []).some((v) => v !== null))), "95 % t interval over seeds", '<rect width="26" height="12" fill="var(--ink)" opacity=".2"/>');
  add(panels.some((p) => p.band), "perfect sampler, 95 %", '<rect width="26" height="12" fill="var(--perfect)" opacity=".5"/>');
  add(panels.some((p) => p.level), "fresh real data", '<path d="M0 6H26" stroke="var(--quiet)" stroke-dasharray="1.5 2.5" stroke-width="1.5"/>');
  add(panels.some((p) => p.star), "★ fresh real data", "");
  add(panels.some((p) => p.prior !== undefined || p.control !== undefined), "control: alignment at scale 0", '<path d="M13 0V12" stroke="var(--quiet)" stroke-dasharray="4 2"/>');
  return items;
}

/** Return the sources of what is drawn, domain by domain, in words. */
const sources = (domains = page.domains) => domains.map((d) => {
  const seeds = Object.keys((curveOf(d, d.drawn) || { measures: { validity: { seeds: {} } } }).measures.validity.seeds).length;
  return `${d.name}: ${page.sources[d.drawn].name}, ${seeds} seed${seeds === 1 ? "" : "s"}, ${d.n} samples a scale`;
}).join("; ");

function rowsOf(id) {
  const figure = figures.find((f) => f.id === id);
  if (!figure) return barRows(page.domains.find((d) => `bars_${d.name}` === id));
  return panelsOf(figure).flatMap((panel, i) => [...panel.curves.flatMap((c) => c.rows.map((r) => ({ domain: panel.domain, ...r }))),
    ...(panel.band ? [{ domain: panel.domain, curve: "perfect sampler, 95 %", low: panel.band[0], high: panel.band[1] }] : []),
    ...(panel.level || panel.star ? [{ domain: panel.domain, curve: "fresh real data", [figure.measure]: panel.level ?? panel.star[1],
      ...(panel.star ? { [figure.against]: panel.star[0] } : {}) }] : [])]);
}

function tableOf(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (v) => escape(typeof v === "number" ? number(v, 4) : v ?? "");
  return `<div class="wide" tabindex="0" role="region" aria-label="table"><table><thead><tr>${names.map((n) => `<th scope="col">${escape(n.replaceAll("_", " "))}</th>`).join("")}</tr></thead>`
    + `<tbody>${rows.map((row) => `<tr>${names.map((n) => `<td>${cell(row[n])}</td>`).join("")}</tr>`).join("")}</tbody></table></div>`;
}

const tools = (id, kinds, title, more = "") => `<div class="tools">${kinds.map((kind) => `<button type="button" data-save="${kind}" data-figure="${id}" aria-label="Download ${kind.toUpperCase()}: ${escape(title)}">${kind.toUpperCase()}</button>`).join("")}${more}`
  + `<details data-table="${id}"><summary>Table: ${escape(title)}</summary></details></div>`;

function drawFigures() {
  for (const figure of figures) {
    const panels = panelsOf(figure).filter((p) => p.curves.length), element = byId(`figure-${figure.id}`);
    const cells = element.querySelector(".grid");
    cells.innerHTML = panels.map(() => '<div class="cell"></div>').join("");
    panels.forEach((panel, i) => mount(cells.children[i], { ...panel, id: `${figure.id}-${i}` }));
    element.querySelector(".legend").innerHTML = [...legendOf(figure, panels)].map(([name, mark]) => `<span>${mark}${escape(name)}</span>`).join("");
    element.querySelector("figcaption").textContent = `${figure.title}. ${sources()}.`;
  }
}

// Panels -------------------------------------------------------------------------------------------

/** Return a strip that shows a value between two ends: perfect band, t band, seeds, mean, exact model. */
function gauge(now, low, high, perfect, exact) {
  const x = (v) => (100 * (v - low) / (high - low)).toFixed(2), parts = ['<rect y="6" width="100" height="4" fill="var(--line)"/>'];
  if (perfect) parts.push(`<rect x="${x(perfect[0]) - 0.5}" y="1" width="${x(perfect[1]) - x(perfect[0]) + 1}" height="14" fill="var(--perfect)" opacity=".5"/>`);
  if (now.low !== null) parts.push(`<rect x="${x(now.low)}" y="4" width="${x(now.high) - x(now.low)}" height="8" fill="var(--mark)" opacity=".4"/>`);
  for (const v of now.seeds) if (v !== null) parts.push(`<rect x="${x(v) - 0.25}" y="5" width=".5" height="6" fill="var(--ink)"/>`);
  if (exact) parts.push(`<path d="M${x(exact.mean)} 0l1.6 4h-3.2z" fill="var(--ink)"/>`);
  parts.push(`<rect x="${x(now.mean) - 0.8}" y="2" width="1.6" height="12" fill="var(--mark)"/>`);
  return `<svg viewBox="-2 0 104 16" preserveAspectRatio="none" aria-hidden="true">${parts.join("")}</svg>`;
}

function statsOf(domain) {
  const curve = curveOf(domain, domain.drawn), exact = curveOf(domain, "exact");
  return page.shown.map((measure) => {
    const now = curve && at(curve.measures[measure], scaleNow());
    if (!now) return "";
    const perfect = domain.perfect[measure], beside = exact && exact !== curve && at(exact.measures[measure], scaleNow());
    const high = measure === "effective_modes" ? domain.modes.length : 1, real = domain.real[measure];
    return `<tr><th scope="row">${escape(short(measure))}</th><td class="value"><b>${number(now.mean)}</b>${range(now.low, now.high)}</td>`
      + `<td class="strip">${gauge(now, 0, high, perfect, beside)}<small>${perfect ? `perfect${range(...perfect)}` : ""}`
      + `${perfect && beside ? ", " : ""}${beside ? `exact ${number(beside.mean)}` : perfect || real === undefined ? "" : `real data ${number(real)}`}</small></td></tr>`;
  }).join("");
}

function barRows(domain) {
  const of = (source) => sharesOf(domain, source), ours = of(domain.drawn);
  return domain.modes.map((mode, k) => {
    const now = (ours && at(ours.modes[k], scaleNow())) || { mean: null, low: null, high: null, seeds: [] };
    const others = ["exact", "equation", "tilted", "tilted_whole"].filter((s) => s !== domain.drawn && of(s))
      .map((s) => [s, (at(of(s).modes[k], scaleNow()) || {}).mean]);
    return { mode, law: domain.law[state.label][k], share: now.mean, low: now.low, high: now.high, seeds: now.seeds.map((v) => number(v, 6)).join(" "),
      ...Object.fromEntries(others) };
  });
}

/** Return bars of mode shares as SVG: the class's own law in outline, t intervals, what else is known as marks. */
function barsSvg(rows, colours, alt) {
  const w = 480, left = 36, turned = rows.some((r) => r.mode.length > 7), h = turned ? 206 : 190, bottom = turned ? 68 : 24, top = 10, step = (w - left - 6) / rows.length, high = Math.max(0.4, ...rows.flatMap((r) => [r.share, r.law, r.exact, r.tilted].filter(Number.isFinite))) * 1.05;
  const y = (v) => h - bottom - Math.max(0, Math.min(v, high)) / high * (h - bottom - top);
  const parts = ticks(0, high).map((t) => `<path d="M${left} ${y(t)}H${w}" stroke="var(--line)" stroke-width=".6"/>` + textAt(left - 5, y(t) + 4, t, 'text-anchor="end"'));
  const mark = (x, v, colour, path) => Number.isFinite(v) ? `<path d="M${x} ${y(v)}${path}" fill="${colour}" stroke="var(--card)" stroke-width=".6"/>` : "";
  rows.forEach((r, k) => {
    const x = left + k * step + step * 0.16, width = step * 0.68, middle = x + width / 2;
    if (Number.isFinite(r.share)) parts.push(`<rect x="${x}" y="${y(r.share)}" width="${width}" height="${h - bottom - y(r.share)}" fill="${colours[k]}" opacity=".75"/>`);
    parts.push(`<rect x="${x}" y="${y(r.law)}" width="${width}" height="${h - bottom - y(r.law)}" fill="none" stroke="var(--ink)" stroke-width="1.2"/>`);
    if (Number.isFinite(r.low)) parts.push(`<path d="M${middle} ${y(r.low)}V${y(r.high)}M${middle - 4} ${y(r.low)}h8M${middle - 4} ${y(r.high)}h8" stroke="var(--ink)" stroke-width="1.4"/>`);
    parts.push(mark(middle - step * 0.2, r.exact, "var(--ink)", "m-4.5 0l4.5 -4.5l4.5 4.5l-4.5 4.5z"), mark(middle + step * 0.2, r.tilted, "#D55E00", "l5 -9h-10z"));
    parts.push(turned ? textAt(middle, h - bottom + 14, r.mode, `text-anchor="end" transform="rotate(-42 ${middle} ${h - bottom + 12})"`) : textAt(middle, h - bottom + 16, r.mode, 'text-anchor="middle"'));
  });
  parts.push(`<path d="M${left} ${h - bottom}H${w}" stroke="var(--ink)"/>`);
  return `<svg class="chart" viewBox="0 0 ${w} ${h}" role="img" aria-label="${escape(alt)}">${parts.join("")}</svg>`;
}

const images = new Map();  // every picture is decoded once, ahead of the slider
function sampleNow(domain) {
  const ours = domain.samples.find((s) => s.method === state.method && s.label === state.label);
  return ours && { ...ours, frame: ours.frames.find((f) => f.scale === scaleNow()) };
}

function updatePanel(domain) {
  const panel = byId(`panel-${domain.name}`), sample = sampleNow(domain), frame = sample && sample.frame, name = domain.classes[state.label];
  const picture = panel.querySelector(".picture");
  if (frame) picture.replaceChildren(images.get(frame));
  else picture.textContent = "No samples here at this scale.";
  panel.querySelector(".caption").textContent = frame ? `${name}, guidance scale ${scaleNow()}. Picture: ${page.sources[sample.source].name}, seed ${sample.seed}: ${frame.words}.` : "";
  panel.querySelector(".stats tbody").innerHTML = statsOf(domain);
  const rows = barRows(domain);
  panel.querySelector(".bars").innerHTML = barsSvg(rows, domain.colours, `Share of each mode, ${domain.name}, ${name}, scale ${scaleNow()}, ${page.sources[domain.drawn].name}: ${rows.map((r) => `${r.mode} ${number(r.share, 2)}`).join(", ")}`);
  const sounds = panel.querySelector(".sounds");
  sounds.innerHTML = frame ? frame.sounds.map((s, i) => `<button type="button" data-sound="${i}" aria-label="Play sample ${i + 1}: ${escape(s.words)}">► ${escape(s.words)}</button>`).join("") : "";
  panel.querySelectorAll("details[open]").forEach(fillTable);
}

function buildPanels() {
  byId("panel-grid").innerHTML = page.domains.map((d) => `<article class="panel" id="panel-${d.name}" aria-labelledby="panel-${d.name}-title">
    <h3 id="panel-${d.name}-title">${escape(d.about)}</h3><div class="picture"></div><p class="caption note"></p><div class="sounds tools"></div>
    <table class="stats"><caption class="hidden">Measures of ${escape(d.name)}, mean over classes, with 95 % t intervals over seeds</caption><tbody></tbody></table>
    <p class="note">Numbers: mean over classes and seeds [95 % t interval]. ${escape(page.sources[d.drawn].name)}, ${d.n} samples a scale.</p>
    <div class="bars"></div>${tools(`bars_${d.name}`, ["png", "svg", "csv"], `mode shares, ${d.name}`,
    `<button type="button" data-save="picture" data-figure="${d.name}" aria-label="Download the picture: ${escape(d.name)}">Picture</button>`)}</article>`).join("");
  byId("panel-legend").innerHTML = [
    ["share of samples, in the mode's colour", '<rect x="6" width="14" height="12" fill="#0072B2" opacity=".75"/>'],
    ["the class's own law", '<rect x="6" y="1" width="14" height="11" fill="none" stroke="var(--ink)" stroke-width="1.2"/>'],
    ["95 % t interval over seeds", '<path d="M13 0V12M9 .6h8M9 11.4h8" stroke="var(--ink)" stroke-width="1.4"/>'],
    ["perfect sampler, 95 % (strip)", '<rect width="26" height="12" fill="var(--perfect)" opacity=".5"/>'],
    ["exact model, sampled", '<path d="M8.5 6l4.5 -4.5l4.5 4.5l-4.5 4.5z" fill="var(--ink)"/>'],
    ["tilted law of modes (not what is sampled)", '<path d="M13 11l5 -9h-10z" fill="#D55E00"/>'],
  ].map(([name, mark]) => `<span>${swatch(mark)}${escape(name)}</span>`).join("");
  for (const d of page.domains) for (const s of d.samples) for (const f of s.frames) {
    const image = new Image();
    image.src = f.png;
    image.alt = `${d.name}, ${d.classes[s.label]}: samples at guidance scale ${f.scale}, ${page.sources[s.source].name}, seed ${s.seed}: ${f.words}`;
    images.set(f, image);
    image.decode().catch(() => {});
  }
}

/** Show everything at the slider's scale. */
function update() {
  const scale = scaleNow();
  byId("scale").value = state.at;
  byId("scale").setAttribute("aria-valuetext", `guidance scale ${scale}`);
  byId("scale-now").textContent = `scale ${scale}${scale === 0 ? " (none)" : scale === 1 ? " (class)" : ""}`;
  page.domains.forEach(updatePanel);
  document.querySelectorAll(".cursor").forEach((c) => c.setAttribute("d", cursorPath(scale, +c.dataset.low, +c.dataset.low + +c.dataset.span)));
  if (page.live) live.set({ scale, label: Math.min(state.label, page.live.weights.length - 1) });
}

// The live mixture ---------------------------------------------------------------------------------

const live = {
  count: 400, label: 0, scale: 1, held: -1,
  build() {
    const size = 1.9, m = page.live;
    this.colours = m.means.map((_, k) => (page.domains.find((d) => d.name === "mixtures") || { colours: ["#0072B2"] }).colours[k % 8]);
    byId("live-body").innerHTML = `<div id="live-grid"><div><svg id="live-plane" class="chart" viewBox="${-size} ${-size} ${2 * size} ${2 * size}" role="group" aria-label="Plane with ${m.means.length} modes that can be moved, and samples of the guided flow">
      <g id="live-points" fill="none" stroke-linecap="round" stroke-width=".035">${[...this.colours, "var(--quiet)"].map((c) => `<path stroke="${c}"/>`).join("")}</g>
      ${m.means.map((_, k) => `<g class="handle" tabindex="0" role="button" data-mode="${k}"><circle r=".16" fill="${this.colours[k]}" fill-opacity=".12" stroke="${this.colours[k]}" stroke-width=".02"/><text y=".32" font-size=".13" text-anchor="middle" fill="var(--ink)">${k}</text></g>`).join("")}</svg>
      <p class="note" id="live-note"></p></div>
      <div><div class="row"><label for="live-scale">guidance scale</label><input id="live-scale" type="range" min="0" max="8" step="0.1"><output id="live-scale-now" for="live-scale"></output><button type="button" id="live-reset">Reset</button></div>
      <table class="stats"><caption class="hidden">Measures of the live mixture</caption><tbody id="live-stats"></tbody></table><div id="live-bars"></div>
      <div class="weights" id="live-weights">${m.means.map((_, k) => `<label for="live-w${k}">weight of mode ${k}</label><input id="live-w${k}" data-weight="${k}" type="range" min="0.001" max="0.5" step="0.001"><output for="live-w${k}"></output>`).join("")}</div>
      ${tools("live", ["png", "svg", "csv"], "the live mixture")}</div></div>`;
    this.plane = byId("live-plane");
    this.starts = normalStarts(this.count);
    const place = (event) => { const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.plane.getScreenCTM().inverse()); return [p.x, -p.y]; };
    this.plane.addEventListener("pointerdown", (event) => {
      const handle = event.target.closest(".handle");
      if (!handle) return;
      this.held = +handle.dataset.mode;
      this.plane.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true });
      event.preventDefault();
    });
    this.plane.addEventListener("pointermove", (event) => { if (this.held >= 0) this.move(this.held, ...place(event)); });
    for (const name of ["pointerup", "pointercancel"]) this.plane.addEventListener(name, () => { this.held = -1; });
    this.plane.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-0.05, 0], ArrowRight: [0.05, 0], ArrowUp: [0, 0.05], ArrowDown: [0, -0.05] }[event.key], k = event.target.dataset.mode;
      if (!step || k === undefined) return;
      event.preventDefault();
      this.move(+k, this.mixture.means[k][0] + step[0], this.mixture.means[k][1] + step[1]);
    });
    byId("live-weights").addEventListener("input", (event) => {
      this.raw[this.label][+event.target.dataset.weight] = +event.target.value;
      this.set({});
    });
    byId("live-scale").addEventListener("input", (event) => this.set({ scale: +event.target.value }));
    byId("live-reset").addEventListener("click", () => { this.reset(); this.set({}); });
    this.reset();
  },
  reset() {
    this.mixture = { ...structuredClone(page.live) };
    this.raw = structuredClone(page.live.weights);
  },
  move(k, x, y) {
    this.mixture.means[k] = [Math.max(-1.7, Math.min(1.7, x)), Math.max(-1.7, Math.min(1.7, y))];
    this.set({});
  },
  rows() {
    const tilted = tiltedLaw(this.mixture, this.label, this.scale);
    return this.mixture.means.map((mean, k) => ({ mode: `mode ${k}`, x: mean[0], y: mean[1], law: this.mixture.weights[this.label][k], share: this.found.shares[k], tilted: tilted[k] }));
  },
  set(change) {
    const begun = performance.now();
    Object.assign(this, change);
    this.mixture.weights = this.raw.map((row) => { const total = row.reduce((a, b) => a + b, 0); return row.map((w) => w / total); });
    const points = guidedFlow(this.mixture, this.label, this.scale, this.starts);
    this.found = measurePoints(this.mixture, this.label, points);
    const paths = [...this.colours, ""].map(() => []);
    this.found.modes.forEach((mode, i) => paths[mode < 0 ? paths.length - 1 : mode].push(`M${points[2 * i].toFixed(3)} ${(-points[2 * i + 1]).toFixed(3)}h0`));
    [...byId("live-points").children].forEach((path, k) => path.setAttribute("d", paths[k].join("")));
    this.plane.querySelectorAll(".handle").forEach((handle, k) => {
      const [x, y] = this.mixture.means[k];
      handle.setAttribute("transform", `translate(${x.toFixed(3)} ${(-y).toFixed(3)})`);
      handle.setAttribute("aria-label", `mode ${k} at ${x.toFixed(2)}, ${y.toFixed(2)}; arrow keys move it`);
    });
    const rows = this.rows(), classes = (page.domains.find((d) => d.name === "mixtures") || page.domains[0]).classes;
    byId("live-stats").innerHTML = page.shown.map((m) => `<tr><th scope="row">${escape(short(m))}</th><td class="value"><b>${number(this.found.measures[m])}</b></td><td class="strip">${gauge({ mean: this.found.measures[m], low: null, seeds: [] }, 0, m === "effective_modes" ? rows.length : 1)}</td></tr>`).join("");
    byId("live-bars").innerHTML = barsSvg(rows, this.colours, `Share of each mode in the live mixture at scale ${this.scale}: ${rows.map((r) => `${r.mode} ${number(r.share, 2)}`).join(", ")}`);
    rows.forEach((r, k) => { byId(`live-w${k}`).value = this.raw[this.label][k]; byId(`live-w${k}`).nextElementSibling.textContent = number(r.law, 2); });
    byId("live-scale").value = this.scale;
    byId("live-scale-now").textContent = number(this.scale, 1);
    document.querySelectorAll('details[data-table="live"][open]').forEach(fillTable);
    this.took = performance.now() - begun;
    byId("live-note").textContent = `Exact model, computed on this page: ${classes[this.label]}, ${this.count} points from the same starts, in ${Math.round(this.took)} ms. Filled bars: share of the points; outlines: the class's own law; orange: the tilted law.`;
  },
  /** Return the shares of modes among n points, for a closer look than the picture's. */
  masses(n) {
    return measurePoints(this.mixture, this.label, guidedFlow(this.mixture, this.label, this.scale, normalStarts(n))).shares;
  },
};

// Tables and files ---------------------------------------------------------------------------------

const rowsFor = (id) => id === "live" ? live.rows() : rowsOf(id);
function fillTable(details) {
  details.querySelectorAll(".wide").forEach((old) => old.remove());
  details.insertAdjacentHTML("beforeend", tableOf(rowsFor(details.dataset.table)));
}

/** Return a figure as one SVG file: its charts side by side, title, legend and sources; light colours. */
function fileSvg(id) {
  const figure = figures.find((f) => f.id === id), host = figure ? byId(`figure-${id}`) : id === "live" ? byId("live-body") : byId(`panel-${id.slice(5)}`);
  const charts = [...host.querySelectorAll("svg.chart")], each = charts.map((c) => { const box = c.viewBox.baseVal; return [c, id === "live" && c === charts[0] ? 400 : box.width, id === "live" && c === charts[0] ? 400 : box.height]; });
  const own = page.domains.find((d) => `bars_${d.name}` === id), said = id === "live" ? byId("live-note").textContent : sources(own ? [own] : page.domains);
  const columns = Math.min(4, each.length), w = Math.max(...each.map((e) => e[1])), h = Math.max(...each.map((e) => e[2]));
  const names = figure ? [...legendOf(figure, panelsOf(figure))] : [], width = Math.max(columns * w, 480), top = 26, rows = Math.ceil(each.length / columns);
  const title = figure ? figure.title : own ? `${own.name}, ${own.classes[state.label]}, guidance scale ${scaleNow()}` : `The exact model, live: guidance scale ${number(live.scale, 1)}`;
  const body = each.map(([c, cw, ch], i) => {
    const copy = c.cloneNode(true);
    copy.querySelectorAll(".ring").forEach((r) => r.remove());
    for (const [k, v] of Object.entries({ x: (i % columns) * w, y: top + Math.floor(i / columns) * h, width: cw, height: ch })) copy.setAttribute(k, v);
    return new XMLSerializer().serializeToString(copy);
  }).join("");
  const legend = names.map(([name, mark], i) => `<g transform="translate(${10 + (i % 2) * width / 2} ${top + rows * h + 8 + 18 * Math.floor(i / 2)})">${mark.replace("<svg", '<svg width="26" height="12"')}${textAt(32, 10, name)}</g>`).join("");
  const notes = said.match(new RegExp(`.{1,${Math.floor((width - 20) / 6.2)}}(\\s|$)`, "g")), under = top + rows * h + 18 * Math.ceil(names.length / 2) + 24;
  const height = under + 15 * notes.length;
  const light = { "--ink": "#1b1b1b", "--card": "#ffffff", "--line": "#d0d0cc", "--quiet": "#565656", "--mark": "#0060a0", "--perfect": "#ccbb44" };
  const holder = document.createElement("template");  // the parser knows what name SVG goes by
  holder.innerHTML = `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif"><rect width="${width}" height="${height}" fill="#ffffff"/>${textAt(10, 17, title, 'font-weight="600"')}${body}${legend}${notes.map((line, i) => textAt(10, under + 15 * i, line)).join("")}</svg>`;
  const text = new XMLSerializer().serializeToString(holder.content.firstChild).replace(/var\((--\w+)\)/g, (_, name) => light[name]);
  return { text, width, height };
}

function save(name, blob) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function saveFigure(kind, id) {
  if (kind === "picture") {
    const domain = page.domains.find((d) => d.name === id), sample = sampleNow(domain);
    const bytes = Uint8Array.from(atob(sample.frame.png.split(",")[1]), (c) => c.charCodeAt(0));
    return save(`samples_${id}_${sample.label}_${scaleNow()}.png`, new Blob([bytes], { type: "image/png" }));
  }
  if (kind === "csv") {
    const rows = rowsFor(id), names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    const cell = (v) => /[",\n]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v ?? "");
    return save(`${id}.csv`, new Blob([[names, ...rows.map((row) => names.map((n) => row[n]))].map((line) => line.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  }
  const { text, width, height } = fileSvg(id);
  if (kind === "svg") return save(`${id}.svg`, new Blob([text], { type: "image/svg+xml" }));
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => save(`${id}.png`, blob));
}

// Tour ---------------------------------------------------------------------------------------------

/** Return "a to b" of a measure in every domain, between two scales, from the records. */
const fromTo = (measure, low, high) => page.domains.map((d) => {
  const series = (curveOf(d, d.drawn) || { measures: {} }).measures[measure], [a, b] = [at(series, low), at(series, high)];
  return a && b ? `${d.name} ${number(a.mean, 2)} to ${number(b.mean, 2)}` : "";
}).filter(Boolean).join(", ");
const most = page.scales.at(-1), middle = page.scales.includes(3) ? 3 : page.scales[Math.floor(page.scales.length / 2)];
const tour = [
  { scale: 0, where: "panels", text: () => `Scale 0: the label is not used. Both classes get the same samples, so alignment is what luck gives: it is the control. From here to scale 1 it goes: ${fromTo("alignment", 0, 1)}.` },
  { scale: 1, where: "panels", text: () => "Scale 1: the conditional model, no guidance. Each filled bar should fill its outline, the class's own law; the yellow strip is where a sampler without error would land." },
  { scale: middle, where: "panels", text: () => `Scale ${middle}: what guidance buys. Alignment from scale 1: ${fromTo("alignment", 1, middle)}. The noise is the same; follow one sample.` },
  { scale: most, where: "figure-one_axis_modes", text: () => `Scale ${most}: what it costs. Mode coverage from scale 1: ${fromTo("mode_coverage", 1, most)}; effective modes: ${fromTo("effective_modes", 1, most)}.` },
  { scale: middle, where: "live", text: () => "Which modes go depends on who borders whom. Drag mode 0 away from the other class's heaviest mode and watch its bar against the tilted law (orange)." },
];

function showStop(stop) {
  state.stop = stop;
  document.querySelectorAll(".toured").forEach((e) => e.classList.remove("toured"));
  byId("tour").hidden = stop < 0;
  byId("tour-start").hidden = stop >= 0;
  if (stop < 0) return;
  const { scale, where, text } = tour[stop];
  state.at = Math.max(0, page.scales.indexOf(scale));
  update();
  byId("tour-text").textContent = `${stop + 1} of ${tour.length}. ${text()}`;
  byId("tour-back").disabled = stop === 0;
  byId("tour-next").disabled = stop === tour.length - 1;
  const place = byId(where) || byId("panels");
  place.classList.add("toured");
  document.documentElement.style.scrollPaddingTop = `${byId("controls").offsetHeight + 12}px`;
  place.scrollIntoView({ block: "start" });
}

function play() {
  clearInterval(state.timer);
  state.timer = state.timer ? 0 : setInterval(() => {
    state.at += 1;
    if (state.at >= page.scales.length - 1) play();
    state.at = Math.min(state.at, page.scales.length - 1);
    update();
  }, 900);
  byId("play").textContent = state.timer ? "Pause" : "Play";
  if (state.timer && state.at >= page.scales.length - 1) { state.at = 0; update(); }
}

// Start --------------------------------------------------------------------------------------------

function start() {
  buildPanels();
  byId("curves").innerHTML = figures.map((f) => `<figure id="figure-${f.id}"${f.together ? ' class="single"' : ""}><h3>${escape(f.title)}</h3><div class="grid"></div><div class="legend"></div><figcaption></figcaption>${tools(f.id, ["png", "svg", "csv"], f.title)}</figure>`).join("");
  byId("scale").max = page.scales.length - 1;
  byId("scale-ticks").innerHTML = page.scales.map((s) => `<span>${s}</span>`).join("");
  byId("label").innerHTML = page.domains[0].classes.map((_, c) => `<option value="${c}">${escape([...new Set(page.domains.map((d) => d.classes[c]).filter(Boolean))].join(" / "))}</option>`).join("");
  byId("method").innerHTML = page.methods.map((m) => `<option>${escape(m)}</option>`).join("");
  byId("method-choice").hidden = page.methods.length < 2;
  if (page.live) live.build();
  else byId("live").hidden = true;
  drawFigures();
  update();
  byId("scale").addEventListener("input", (event) => { state.at = +event.target.value; update(); });
  byId("label").addEventListener("change", (event) => { state.label = +event.target.value; update(); });
  byId("method").addEventListener("change", (event) => { state.method = event.target.value; drawFigures(); update(); });
  byId("play").addEventListener("click", play);
  byId("tour-start").addEventListener("click", () => { showStop(0); byId("tour-next").focus(); });
  byId("tour-back").addEventListener("click", () => showStop(state.stop - 1));
  byId("tour-next").addEventListener("click", () => showStop(state.stop + 1));
  byId("tour-end").addEventListener("click", () => { showStop(-1); byId("tour-start").focus(); });
  document.addEventListener("toggle", (event) => { if (event.target.open && event.target.dataset.table) fillTable(event.target); }, true);
  let audio = null;
  document.addEventListener("click", (event) => {
    const { save: kind, figure, sound } = event.target.dataset;
    if (kind) saveFigure(kind, figure);
    if (sound === undefined) return;
    const domain = page.domains.find((d) => event.target.closest(`#panel-${d.name}`));
    if (audio) audio.pause();
    audio = new Audio(sampleNow(domain).frame.sounds[+sound].wav);
    audio.play();
  });
}
start();
