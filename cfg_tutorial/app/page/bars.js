// Draws bars of shares and strips of measures as SVG text. Knows nothing of the records.

/** Return a strip that shows a value between 0 and an end: perfect band, t band, seeds, exact. */
function gauge(now, high, perfect, exact) {
  const x = (v) => (100 * v) / high;
  const parts = [rect(0, 6, 100, 4, { fill: "var(--line)" })];
  if (perfect) {
    const [from, to] = perfect.map(x);
    const look = { fill: "var(--perfect)", opacity: 0.5 };
    parts.push(rect(from - 0.5, 1, to - from + 1, 14, look));
  }
  if (now.low !== null) {
    const look = { fill: "var(--mark)", opacity: 0.4 };
    parts.push(rect(x(now.low), 4, x(now.high) - x(now.low), 8, look));
  }
  for (const v of now.seeds.filter((v) => v !== null)) {
    parts.push(rect(x(v) - 0.25, 5, 0.5, 6, { fill: "var(--ink)" }));
  }
  if (exact)
    parts.push(path(`M${x(exact.mean).toFixed(2)} 0l1.6 4h-3.2z`, { fill: "var(--ink)" }));
  parts.push(rect(x(now.mean) - 0.8, 2, 1.6, 12, { fill: "var(--mark)" }));
  const look = { viewBox: "-2 0 104 16", preserveAspectRatio: "none", "aria-hidden": "true" };
  return element("svg", look, parts.join(""));
}

/** Return a row of the table of measures. */
function statRow(measure, value, strip) {
  const name = element("th", { scope: "row" }, escape(short(measure)));
  const cells = `<td class="value">${value}</td><td class="strip">${strip}</td>`;
  return element("tr", {}, name + cells);
}

/** Return a mode's bar: share, the class's own law in outline, t interval, what else is known. */
function bar(row, colour, left, step, y) {
  const x = left + step * 0.16;
  const width = step * 0.68;
  const middle = x + width / 2;
  const parts = [];
  const column = (v, look) => parts.push(rect(x, y(v), width, y(0) - y(v), look));
  const mark = (at, v, fill, shape) => {
    const look = { fill, stroke: "var(--card)", "stroke-width": 0.6 };
    if (Number.isFinite(v)) parts.push(path(`M${at} ${y(v)}${shape}`, look));
  };
  if (Number.isFinite(row.share)) column(row.share, { fill: colour, opacity: 0.75 });
  column(row.law, { fill: "none", stroke: "var(--ink)", "stroke-width": 1.2 });
  if (Number.isFinite(row.low)) {
    const [low, high] = [y(row.low), y(row.high)];
    const ends = `M${middle - 4} ${low}h8M${middle - 4} ${high}h8`;
    const look = { stroke: "var(--ink)", "stroke-width": 1.4 };
    parts.push(path(`M${middle} ${low}V${high}${ends}`, look));
  }
  mark(middle - step * 0.2, row.exact, "var(--ink)", "m-4.5 0l4.5 -4.5l4.5 4.5l-4.5 4.5z");
  mark(middle + step * 0.2, row.tilted, "#D55E00", "l5 -9h-10z");
  return parts.join("");
}

/** Return bars of mode shares as SVG text; long names are turned. */
function barsSvg(rows, colours, alt) {
  const turned = rows.some((r) => r.mode.length > 7);
  const [width, left, top] = [480, 36, 10];
  const [height, bottom] = turned ? [206, 138] : [190, 166];
  const step = (width - left - 6) / rows.length;
  const values = rows.flatMap((r) => [r.share, r.law, r.exact, r.tilted]);
  const high = Math.max(0.4, ...values.filter(Number.isFinite)) * 1.05;
  const scaled = scaler([0, high], bottom, top);
  const y = (v) => scaled(Math.max(0, Math.min(v, high)));
  const name = (mode, middle) => {
    if (!turned) return textAt(middle, bottom + 16, mode, MIDDLE);
    const turn = `rotate(-42 ${middle} ${bottom + 12})`;
    return textAt(middle, bottom + 14, mode, { ...END, transform: turn });
  };
  const parts = ticks(0, high).flatMap((t) => [
    path(`M${left} ${y(t)}H${width}`, GRID),
    textAt(left - 5, y(t) + 4, t, END),
  ]);
  rows.forEach((row, k) => {
    const start = left + k * step;
    parts.push(bar(row, colours[k], start, step, y), name(row.mode, start + step / 2));
  });
  parts.push(path(`M${left} ${bottom}H${width}`, { stroke: "var(--ink)" }));
  const look = { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img" };
  return element("svg", { ...look, "aria-label": alt }, parts.join(""));
}

/** Return the shares in words. */
const inWords = (rows) => rows.map((r) => `${r.mode} ${number(r.share, 2)}`).join(", ");
