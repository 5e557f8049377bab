// Builds the page, listens to its controls and shows what is chosen. Knows nothing of the parts.

/** Show everything as chosen: the slider's scale, each panel's class, the method. */
function update() {
  const scale = scaleNow();
  const said = { 0: " (none)", 1: " (class)" }[scale] ?? "";
  byId("scale").value = state.at;
  byId("scale").setAttribute("aria-valuetext", `guidance scale ${scale}`);
  byId("scale-now").textContent = `scale ${scale}${said}`;
  page.domains.forEach(updatePanel);
  updateClasses();
  for (const cursor of document.querySelectorAll(".cursor")) {
    const { low, high } = cursor.dataset;
    cursor.setAttribute("d", cursorPath(scale, +low, +high));
  }
  if (page.live) live.set({ scale, label: labelOf(live.domain) });
}

function build() {
  buildPanels();
  buildFigures();
  buildClasses();
  byId("scale").max = page.scales.length - 1;
  byId("scale-ticks").innerHTML = page.scales.map((s) => `<span>${s}</span>`).join("");
  byId("method").innerHTML = page.methods.map((m) => `<option>${escape(m)}</option>`).join("");
  byId("method-choice").hidden = page.methods.length < 2;
  byId("live").hidden = !page.live;
  if (page.live) live.build();
  drawFigures();
  update();
}

function listenToControls() {
  const on = (id, event, act) => byId(id).addEventListener(event, act);
  on("scale", "input", (event) => {
    state.at = +event.target.value;
    update();
  });
  on("label", "change", (event) => {
    chooseClass(+event.target.value);
    update();
  });
  on("panel-grid", "change", (event) => {
    chooseClass(+event.target.value, event.target.dataset.class);
    update();
  });
  on("method", "change", (event) => {
    state.method = event.target.value;
    drawFigures();
    update();
  });
  on("play", "click", play);
  on("tour-start", "click", () => {
    showStop(0);
    byId("tour-next").focus();
  });
  on("tour-back", "click", () => showStop(state.stop - 1));
  on("tour-next", "click", () => showStop(state.stop + 1));
  on("tour-end", "click", () => {
    showStop(-1);
    byId("tour-start").focus();
  });
}

function listenToFigures() {
  const opened = ({ target }) => {
    if (target.open && target.dataset.table) fillTable(target);
  };
  document.addEventListener("toggle", opened, true); // it does not bubble
  document.addEventListener("click", ({ target }) => {
    const { save: kind, figure, sound } = target.dataset;
    if (kind) saveFigure(kind, figure);
    if (sound === undefined) return;
    const domain = page.domains.find((d) => target.closest(`#panel-${d.name}`));
    playSound(sampleNow(domain).frame.sounds[+sound]);
  });
}

build();
listenToControls();
listenToFigures();
