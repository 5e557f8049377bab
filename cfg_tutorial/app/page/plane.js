// The live mixture's markup, and the hands that move its modes. Knows nothing of the flow.

/** Return the plane of points with a handle a mode. */
function planeMarkup(colours) {
  const size = 1.9;
  const points = { fill: "none", "stroke-linecap": "round", "stroke-width": 0.035 };
  const paths = [...colours, "var(--quiet)"].map((stroke) => element("path", { stroke }));
  const handles = colours.map((colour, k) => {
    const circle = { r: 0.16, fill: colour, "fill-opacity": 0.12, stroke: colour };
    const name = { y: 0.32, "font-size": 0.13, ...MIDDLE, fill: "var(--ink)" };
    return element(
      "g",
      { class: "handle", tabindex: 0, role: "button", "data-mode": k },
      element("circle", { ...circle, "stroke-width": 0.02 }) + element("text", name, k),
    );
  });
  const what = `Plane with ${colours.length} modes that can be moved`;
  return element(
    "svg",
    {
      id: "live-plane",
      class: "chart",
      viewBox: `${-size} ${-size} ${2 * size} ${2 * size}`,
      role: "group",
      "aria-label": `${what}, and samples of the guided flow`,
    },
    element("g", { id: "live-points", ...points }, paths.join("")) + handles.join(""),
  );
}

function liveMarkup(colours) {
  const weight = (_, k) => `<label for="live-w${k}">weight of mode ${k}</label>
    <input id="live-w${k}" data-weight="${k}" type="range" min="0.001" max="0.5" step="0.001">
    <output for="live-w${k}"></output>`;
  return `<div id="live-grid">
    <div>${planeMarkup(colours)}<p class="note" id="live-note"></p></div>
    <div>
      <div class="row"><label for="live-scale">guidance scale</label>
        <input id="live-scale" type="range" min="0" max="8" step="0.1">
        <output id="live-scale-now" for="live-scale"></output>
        <button type="button" id="live-reset">Reset</button></div>
      <table class="stats"><caption class="hidden">Measures of the live mixture</caption>
        <tbody id="live-stats"></tbody></table>
      <div id="live-bars"></div>
      <div class="weights" id="live-weights">${colours.map(weight).join("")}</div>
      ${tools("live", "the live mixture")}
    </div>
  </div>`;
}

const STEPS = {
  ArrowLeft: [-0.05, 0],
  ArrowRight: [0.05, 0],
  ArrowUp: [0, 0.05],
  ArrowDown: [0, -0.05],
};

/** Let a pointer drag the modes of a live mixture, and the arrow keys move them. */
function listenToPlane(mixture) {
  const plane = mixture.plane;
  plane.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(".handle");
    if (!handle) return;
    mixture.held = +handle.dataset.mode;
    plane.setPointerCapture(event.pointerId);
    handle.focus({ preventScroll: true });
    event.preventDefault();
  });
  plane.addEventListener("pointermove", (event) => {
    if (mixture.held < 0) return;
    const there = new DOMPoint(event.clientX, event.clientY);
    const { x, y } = there.matrixTransform(plane.getScreenCTM().inverse());
    mixture.move(mixture.held, x, -y);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    plane.addEventListener(name, () => {
      mixture.held = -1;
    });
  }
  plane.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    const k = event.target.dataset.mode;
    if (!step || k === undefined) return;
    event.preventDefault();
    const [x, y] = mixture.mixture.means[k];
    mixture.move(+k, x + step[0], y + step[1]);
  });
}
