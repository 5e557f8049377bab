// Draws a chart as SVG text. Knows nothing of the records, nor of where a chart stands.

const plot = { width: 320, height: 240, left: 40, right: 308, top: 24, bottom: 202 };

/** Return a function from values between two ends to places between two others. */
const scaler =
  ([low, high], from, to) =>
  (v) =>
    from + ((v - low) / (high - low)) * (to - from);
const toX = (ends) => scaler(ends, plot.left, plot.right);
const toY = (ends) => scaler(ends, plot.bottom, plot.top);
const upright = (x) => `M${x.toFixed(1)} ${plot.top}V${plot.bottom}`;
const level = (y) => `M${plot.left} ${y.toFixed(1)}H${plot.right}`;
const cursorPath = (scale, low, high) => upright(toX([low, high])(scale));

/** Return the grid and, apart, its numbers. */
function axes(spec, sx, sy) {
  const xs = ticks(...spec.x);
  const ys = ticks(...spec.y);
  const grid = [...xs.map((t) => upright(sx(t))), ...ys.map((t) => level(sy(t)))];
  const middle = (plot.left + plot.right) / 2;
  const labels = [
    textAt(plot.width / 2, 14, spec.title, { ...MIDDLE, ...BOLD }),
    textAt(middle, plot.height - 6, spec.xName, MIDDLE),
    ...xs.map((t) => textAt(sx(t), plot.bottom + 14, t, MIDDLE)),
    ...ys.map((t) => textAt(plot.left - 5, sy(t) + 4, t, END)),
  ];
  return { grid: grid.map((d) => path(d, GRID)), labels };
}

/** Return what stands behind the curves: perfect sampler, real data, control. */
function backdrop(spec, sx, sy) {
  const parts = [];
  const line = (d, dash) =>
    parts.push(path(d, { stroke: "var(--quiet)", "stroke-dasharray": dash }));
  if (spec.band) {
    const top = sy(Math.max(...spec.band)) - 1;
    const height = sy(spec.band[0]) + 1 - top;
    const look = { fill: "var(--perfect)", opacity: 0.4 };
    parts.push(rect(plot.left, top, plot.right - plot.left, height, look));
  }
  if (spec.level !== undefined) line(level(sy(spec.level)), "1.5 2.5");
  if (spec.control !== undefined) line(level(sy(spec.control)), "4 2");
  if (spec.prior !== undefined) line(upright(sx(spec.prior)), "4 2");
  if (spec.star) {
    const look = { ...MIDDLE, "font-size": 15, fill: "var(--quiet)" };
    parts.push(textAt(sx(spec.star[0]), sy(spec.star[1]) + 5, "★", look));
  }
  return parts;
}

/** Return a curve: its band, one thin line per seed, the mean with its points. */
function drawCurve(curve, sx, sy) {
  const colour = ink(curve.colour);
  const points = (xs, ys) =>
    xs
      .map((x, i) => [x, ys[i]])
      .filter(([x, y]) => x !== null && y !== null)
      .map(([x, y]) => `${sx(x).toFixed(1)},${sy(y).toFixed(1)}`)
      .join(" ");
  const parts = [];
  const line = (xs, ys, look) =>
    parts.push(
      element("polyline", { points: points(xs, ys), fill: "none", stroke: colour, ...look }),
    );
  if (curve.low && curve.low.some((v) => v !== null)) {
    const back = points([...curve.x].reverse(), [...curve.low].reverse());
    const around = `${points(curve.x, curve.high)} ${back}`;
    parts.push(element("polygon", { points: around, fill: colour, opacity: 0.18 }));
  }
  for (const [x, y] of curve.seeds) line(x, y, { "stroke-width": 0.7, opacity: 0.65 });
  line(curve.x, curve.y, { "stroke-width": 2, "stroke-dasharray": curve.dash });
  curve.x.forEach((x, i) => {
    if (x === null || curve.y[i] === null) return;
    const [cx, cy] = [sx(x), sy(curve.y[i])];
    parts.push(element("circle", { cx, cy, r: 2.4, fill: colour }));
    if (curve.marks) parts.push(textAt(cx + 4, cy - 4, curve.scale[i], BOLD));
  });
  return parts;
}

/** Return the points that a pointer finds: x, y and what is said there. */
function hitsOf(spec, sx, sy) {
  const hits = spec.curves.flatMap((c) =>
    c.x
      .map((x, i) => [x, c.y[i], c.tips[i]])
      .filter(([x, y]) => x !== null && y !== null)
      .map(([x, y, tip]) => [sx(x), sy(y), tip]),
  );
  if (!spec.star) return hits;
  const [x, y] = spec.star;
  const tip = `fresh real data\n${spec.xName} ${number(x)}\n${spec.yName} ${number(y)}`;
  return [[sx(x), sy(y), tip], ...hits];
}

/** Return a chart as SVG text, and the points that a pointer finds on it.
 *
 * spec: id, title, xName, yName, alt; x and y ([low, high]);
 * curves ({name, colour, dash, x, y, low, high, seeds, scale, marks, tips});
 * band ([low, high] of a perfect sampler), level (fresh real data), star ([x, y] of it),
 * control (alignment at scale 0; prior: on the x axis), cursor (the scale now).
 */
function chart(spec) {
  const [sx, sy] = [toX(spec.x), toY(spec.y)];
  const { grid, labels } = axes(spec, sx, sy);
  const lines = [...grid, ...backdrop(spec, sx, sy)];
  for (const curve of spec.curves) lines.push(...drawCurve(curve, sx, sy));
  if (spec.cursor !== undefined) {
    const ends = { "data-low": spec.x[0], "data-high": spec.x[1] };
    const look = { class: "cursor", stroke: "var(--mark)", "stroke-width": 1.5, opacity: 0.7 };
    lines.push(path(cursorPath(spec.cursor, ...spec.x), { ...look, ...ends }));
  }
  const [width, height] = [plot.right - plot.left + 6, plot.bottom - plot.top + 6];
  const inside = rect(plot.left - 3, plot.top - 3, width, height);
  const clip = element("clipPath", { id: `${spec.id}-clip` }, inside);
  const ring = { class: "ring", r: 6, fill: "none", stroke: "var(--mark)", "stroke-width": 2 };
  const svg = element(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${plot.width} ${plot.height}`,
      role: "img",
      tabindex: 0,
      "aria-label": spec.alt,
    },
    [
      element("defs", {}, clip),
      ...labels,
      element("g", { "clip-path": `url(#${spec.id}-clip)` }, lines.join("")),
      element("circle", { ...ring, visibility: "hidden" }),
    ].join(""),
  );
  return { svg, hits: hitsOf(spec, sx, sy) };
}
