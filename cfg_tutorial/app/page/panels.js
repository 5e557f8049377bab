// Shows a panel a domain: pictures, measures and bars of its class. Knows nothing of the curves.

const images = new Map(); // every picture is decoded once, ahead of the slider

function statsOf(domain) {
  const curve = curveOf(domain, domain.drawn);
  const exact = curveOf(domain, "exact");
  const row = (measure) => {
    const now = curve && at(curve.measures[measure], scaleNow());
    if (!now) return "";
    const perfect = domain.perfect[measure];
    const real = domain.real[measure];
    const beside = exact && exact !== curve && at(exact.measures[measure], scaleNow());
    const said = [];
    if (perfect) said.push(`perfect${range(...perfect)}`);
    if (beside) said.push(`exact ${number(beside.mean)}`);
    if (!said.length && real !== undefined) said.push(`real data ${number(real)}`);
    const high = measure === "effective_modes" ? domain.modes.length : 1;
    const strip = `${gauge(now, high, perfect, beside)}<small>${said.join(", ")}</small>`;
    return statRow(measure, `<b>${number(now.mean)}</b>${range(now.low, now.high)}`, strip);
  };
  return page.shown.map(row).join("");
}

/** Return the shares of a domain's modes in its class at the slider's scale, a row each. */
function barRows(domain) {
  const shareOf = (source, k) => {
    const shares = sharesOf(domain, source);
    return shares && at(shares.modes[k], scaleNow());
  };
  const others = ["exact", "equation", "tilted", "tilted_whole"].filter(
    (source) => source !== domain.drawn && sharesOf(domain, source),
  );
  return domain.modes.map((mode, k) => {
    const now = shareOf(domain.drawn, k) || { mean: null, low: null, high: null, seeds: [] };
    return {
      mode,
      law: domain.law[labelOf(domain)][k],
      share: now.mean,
      low: now.low,
      high: now.high,
      seeds: now.seeds.map((v) => number(v, 6)).join(" "),
      ...Object.fromEntries(others.map((source) => [source, shareOf(source, k)?.mean])),
    };
  });
}

function updatePanel(domain) {
  const panel = byId(`panel-${domain.name}`);
  const put = (part, markup) => (panel.querySelector(part).innerHTML = markup);
  const sample = sampleNow(domain);
  const frame = sample && sample.frame;
  const where = `${classOf(domain)}, guidance scale ${scaleNow()}`;
  byId(`label-${domain.name}`).value = labelOf(domain);
  if (frame) panel.querySelector(".picture").replaceChildren(images.get(frame));
  else put(".picture", "No samples here at this scale.");
  const from = frame && `Picture: ${page.sources[sample.source].name}, seed ${sample.seed}`;
  put(".caption", frame ? escape(`${where}. ${from}: ${frame.words}.`) : "");
  put(".stats tbody", statsOf(domain));
  const rows = barRows(domain);
  const alt = `Share of each mode, ${domain.name}, ${where}, ${page.sources[domain.drawn].name}`;
  put(".bars", barsSvg(rows, domain.colours, `${alt}: ${inWords(rows)}`));
  put(".sounds", frame ? soundButtons(frame.sounds) : "");
  panel.querySelectorAll("details[open]").forEach(fillTable);
}

/** Return an empty panel, with the choice of its domain's class. */
function panelMarkup(d) {
  const title = `panel-${d.name}-title`;
  const name = escape(d.name);
  const what = { "data-save": "picture", "data-figure": d.name };
  const said = { "aria-label": `Download the picture: ${d.name}` };
  const picture = element("button", { type: "button", ...what, ...said }, "Picture");
  return `<article class="panel" id="panel-${d.name}" aria-labelledby="${title}">
    <h3 id="${title}">${escape(d.about)}</h3>
    <label>class <span class="hidden">of ${name}</span>
      <select id="label-${d.name}" data-class="${d.name}">${options(d.classes)}</select></label>
    <div class="picture"></div><p class="caption note"></p><div class="sounds tools"></div>
    <table class="stats"><caption class="hidden">Measures of ${name}, mean over classes, with
      95 % t intervals over seeds</caption><tbody></tbody></table>
    <p class="note">Numbers: mean over classes and seeds [95 % t interval].
      ${escape(page.sources[d.drawn].name)}, ${d.n} samples per scale.</p>
    <div class="bars"></div>${tools(`bars_${d.name}`, `mode shares, ${d.name}`, picture)}
  </article>`;
}

/** Return what the bars and strips of the panels show: pairs of a name and its mark. */
function panelLegend() {
  const outline = { stroke: "var(--ink)", fill: "none" };
  const interval = path("M13 0V12M9 .6h8M9 11.4h8", { ...outline, "stroke-width": 1.4 });
  const exact = path("M8.5 6l4.5 -4.5l4.5 4.5l-4.5 4.5z", { fill: "var(--ink)" });
  const marks = {
    "share of samples, in the mode's colour": rect(6, 0, 14, 12, {
      fill: "#0072B2",
      opacity: 0.75,
    }),
    "the class's own law": rect(6, 1, 14, 11, { ...outline, "stroke-width": 1.2 }),
    "95 % t interval over seeds": interval,
    "perfect sampler, 95 % (strip)": rect(0, 0, 26, 12, { fill: "var(--perfect)", opacity: 0.5 }),
    "exact model, sampled": exact,
    "tilted law of modes (not what is sampled)": path("M13 11l5 -9h-10z", { fill: "#D55E00" }),
  };
  return Object.entries(marks).map(([name, mark]) => [name, swatch(mark)]);
}

function buildPanels() {
  byId("panel-grid").innerHTML = page.domains.map(panelMarkup).join("");
  byId("panel-legend").innerHTML = legend(panelLegend());
  for (const d of page.domains) {
    for (const s of d.samples) {
      for (const f of s.frames) {
        const image = new Image();
        const what = `${d.name}, ${d.classes[s.label]}: samples at guidance scale ${f.scale}`;
        const from = `${page.sources[s.source].name}, seed ${s.seed}`;
        image.src = f.png;
        image.alt = `${what}, ${from}: ${f.words}`;
        images.set(f, image);
        image.decode().catch(() => {});
      }
    }
  }
}
