// The live mixture: what it is now and how it is shown. Knows nothing of the records' numbers.

const live = {
  count: 400, // points
  label: 0,
  scale: 1,
  held: -1, // the mode that a pointer holds
  build() {
    this.domain = domainOf("mixtures");
    this.colours = this.domain.colours;
    byId("live-body").innerHTML = liveMarkup(this.colours);
    this.plane = byId("live-plane");
    this.starts = normalStarts(this.count);
    listenToPlane(this);
    byId("live-weights").addEventListener("input", (event) => {
      this.raw[this.label][+event.target.dataset.weight] = +event.target.value;
      this.set({});
    });
    byId("live-scale").addEventListener("input", (event) => {
      this.set({ scale: +event.target.value });
    });
    byId("live-reset").addEventListener("click", () => {
      this.reset();
      this.set({});
    });
    this.reset();
  },
  reset() {
    this.mixture = structuredClone(page.live);
    this.raw = structuredClone(page.live.weights); // as the sliders say, before they sum to 1
  },
  move(k, x, y) {
    this.mixture.means[k] = [x, y].map((v) => Math.max(-1.7, Math.min(1.7, v)));
    this.set({});
  },
  rows() {
    const tilted = tiltedLaw(this.mixture, this.label, this.scale);
    return this.mixture.means.map(([x, y], k) => ({
      mode: `mode ${k}`,
      x,
      y,
      law: this.mixture.weights[this.label][k],
      share: this.found.shares[k],
      tilted: tilted[k],
    }));
  },
  /** Change the scale or the class, sample afresh and show all of it. */
  set(change) {
    const begun = performance.now();
    Object.assign(this, change);
    this.mixture.weights = this.raw.map((row) => {
      const total = row.reduce((a, b) => a + b, 0);
      return row.map((w) => w / total);
    });
    const points = guidedFlow(this.mixture, this.label, this.scale, this.starts);
    this.found = measurePoints(this.mixture, this.label, points);
    this.showPlane(points);
    this.showNumbers();
    this.took = performance.now() - begun;
    const said = [
      `Exact model, computed on this page: ${this.domain.classes[this.label]},`,
      `${this.count} points from the same starts, in ${Math.round(this.took)} ms.`,
      "Filled bars: share of the points; outlines: the class's own law; orange: the tilted law.",
    ];
    byId("live-note").textContent = said.join(" ");
  },
  showPlane(points) {
    const dots = [...this.colours, ""].map(() => []); // the last are outside every mode
    this.found.modes.forEach((mode, i) => {
      const place = `M${points[2 * i].toFixed(3)} ${(-points[2 * i + 1]).toFixed(3)}h0`;
      dots.at(mode).push(place);
    });
    [...byId("live-points").children].forEach((one, k) => one.setAttribute("d", dots[k].join("")));
    this.plane.querySelectorAll(".handle").forEach((handle, k) => {
      const [x, y] = this.mixture.means[k];
      const place = `${x.toFixed(2)}, ${y.toFixed(2)}`;
      handle.setAttribute("transform", `translate(${x.toFixed(3)} ${(-y).toFixed(3)})`);
      handle.setAttribute("aria-label", `mode ${k} at ${place}; arrow keys move it`);
    });
  },
  showNumbers() {
    const rows = this.rows();
    const row = (measure) => {
      const mean = this.found.measures[measure];
      const high = measure === "effective_modes" ? rows.length : 1;
      const strip = gauge({ mean, low: null, seeds: [] }, high);
      return statRow(measure, `<b>${number(mean)}</b>`, strip);
    };
    byId("live-stats").innerHTML = page.shown.map(row).join("");
    const alt = `Share of each mode in the live mixture at scale ${this.scale}: ${inWords(rows)}`;
    byId("live-bars").innerHTML = barsSvg(rows, this.colours, alt);
    rows.forEach((r, k) => {
      const weight = byId(`live-w${k}`);
      weight.value = this.raw[this.label][k];
      weight.nextElementSibling.textContent = number(r.law, 2);
    });
    byId("live-scale").value = this.scale;
    byId("live-scale-now").textContent = number(this.scale, 1);
    document.querySelectorAll('details[data-table="live"][open]').forEach(fillTable);
  },
  /** Return the shares of modes among n points, for a closer look than the picture's. */
  masses(n) {
    const points = guidedFlow(this.mixture, this.label, this.scale, normalStarts(n));
    return measurePoints(this.mixture, this.label, points).shares;
  },
};
