// Turns records into curves as a chart takes them. Knows nothing of figures and draws nothing.

const MEASURES = { relative_modes: "effective modes over those at scale 1", ...page.measures };
const short = (measure) => MEASURES[measure].split(/[,(]/)[0].trim();
const withRange = (o) => `${number(o.mean)}${range(o.low, o.high)}`;

/** Return a curve of a measure against the scale or a second measure, joined by scale.
 *
 * style: name, colour, dash, marks (whether its points say their scale).
 */
function makeCurve(curve, measure, against, style) {
  const y = curve.measures[measure];
  const x = curve.measures[against];
  if (!y || (against !== "scale" && !x)) return null;
  const points = y.scale
    .filter((scale) => !x || x.scale.includes(scale))
    .map((scale) => ({ scale, y: at(y, scale), x: x && at(x, scale) }));
  const seeds = Object.keys(y.seeds);
  const tip = (p) =>
    [
      style.name,
      `scale ${p.scale}${p.x ? `, ${short(against)} ${withRange(p.x)}` : ""}`,
      `${short(measure)} ${withRange(p.y)}`,
      ...(seeds.length > 1 ? [`seeds ${p.y.seeds.map((v) => number(v)).join(", ")}`] : []),
    ].join("\n");
  const row = (p) => ({
    curve: style.name,
    scale: p.scale,
    ...(p.x ? { [against]: p.x.mean } : {}),
    [measure]: p.y.mean,
    low: p.y.low,
    high: p.y.high,
    seeds: p.y.seeds.map((v) => number(v, 6)).join(" "),
  });
  const ofSeed = (_, j) => [
    points.map((p) => (p.x ? p.x.seeds[j] : p.scale)),
    points.map((p) => p.y.seeds[j]),
  ];
  return {
    ...style,
    scale: points.map((p) => p.scale),
    x: points.map((p) => (p.x ? p.x.mean : p.scale)),
    y: points.map((p) => p.y.mean),
    low: x ? null : points.map((p) => p.y.low),
    high: x ? null : points.map((p) => p.y.high),
    seeds: seeds.length > 1 ? seeds.map(ofSeed) : [],
    tips: points.map(tip),
    rows: points.map(row),
  };
}

/** Return the ends of an axis that holds curves and two values; wide t bands are cut off. */
function spread(curves, low, high, axis = "y") {
  const place = axis === "y" ? 1 : 0;
  const values = curves
    .flatMap((c) => [...c[axis], ...c.seeds.flatMap((seed) => seed[place])])
    .filter((v) => v !== null);
  const ends = [Math.min(low, ...values), Math.max(high, ...values)];
  const step = ends[1] - ends[0] > 2 ? 0.5 : 0.1;
  return [Math.floor(ends[0] / step + 1e-6) * step, Math.ceil(ends[1] / step + 0.3) * step];
}

/** Return the sources of what is drawn, domain by domain, in words. */
function sources(domains = page.domains) {
  const said = domains.map((d) => {
    const seeds = Object.keys(drawnSeries(d, "validity")?.seeds ?? {}).length;
    const plural = seeds === 1 ? "" : "s";
    const name = page.sources[d.drawn].name;
    return `${d.name}: ${name}, ${seeds} seed${plural}, ${d.n} samples per scale`;
  });
  return said.join("; ");
}
