// The guided tour, and Play. Knows nothing of how a scale is shown.

/** Return "a to b" of a measure in every domain, between two scales, from the records. */
function fromTo(measure, low, high) {
  const said = page.domains.map((d) => {
    const series = drawnSeries(d, measure);
    const [a, b] = [at(series, low), at(series, high)];
    return a && b ? `${d.name} ${number(a.mean, 2)} to ${number(b.mean, 2)}` : "";
  });
  return said.filter(Boolean).join(", ");
}

const most = page.scales.at(-1);
const middle = page.scales.includes(3) ? 3 : page.scales[Math.floor(page.scales.length / 2)];
const tour = [
  {
    scale: 0,
    where: "panels",
    text: () => `Scale 0: the label is not used. Every class gets the same samples, so alignment
      is what luck gives: it is the control. From here to scale 1 it goes:
      ${fromTo("alignment", 0, 1)}.`,
  },
  {
    scale: 1,
    where: "panels",
    text: () => `Scale 1: the conditional model, no guidance. Each filled bar should fill its
      outline, the class's own law; the yellow strip is where a sampler without error would land.`,
  },
  {
    scale: middle,
    where: "panels",
    text: () => `Scale ${middle}: what guidance buys. Alignment from scale 1:
      ${fromTo("alignment", 1, middle)}. The noise is the same; follow one sample.`,
  },
  {
    scale: most,
    where: "figure-one_axis_modes",
    text: () => `Scale ${most}: what it costs. Mode coverage from scale 1:
      ${fromTo("mode_coverage", 1, most)}; effective modes:
      ${fromTo("effective_modes", 1, most)}.`,
  },
  {
    scale: middle,
    where: "live",
    text: () => `Which modes go depends on who borders whom. Drag mode 0 away from the other
      class's heaviest mode and watch its bar against the tilted law (orange).`,
  },
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
  const said = text().replace(/\s+/g, " ");
  byId("tour-text").textContent = `${stop + 1} of ${tour.length}. ${said}`;
  byId("tour-back").disabled = stop === 0;
  byId("tour-next").disabled = stop === tour.length - 1;
  const place = byId(where) || byId("panels");
  place.classList.add("toured");
  const padding = byId("controls").offsetHeight + 12;
  document.documentElement.style.scrollPaddingTop = `${padding}px`;
  place.scrollIntoView({ block: "start" });
}

/** Move the slider by itself to the last scale; a second press stops it. */
function play() {
  const last = page.scales.length - 1;
  clearInterval(state.timer);
  state.timer = state.timer ? 0 : setInterval(step, 900);
  byId("play").textContent = state.timer ? "Pause" : "Play";
  if (state.timer && state.at >= last) {
    state.at = 0;
    update();
  }
  function step() {
    state.at = Math.min(state.at + 1, last);
    if (state.at === last) play();
    update();
  }
}
