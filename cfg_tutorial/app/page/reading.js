// Puts a chart into its cell and reads it out where one points. Knows nothing of what is drawn.

/** Put a chart into a cell; pointing and the arrow keys read its values. */
function mount(cell, spec) {
  const { svg, hits } = chart(spec);
  cell.innerHTML = `${svg}<div class="tip" role="status" hidden></div>`;
  const tip = cell.querySelector(".tip");
  const ring = cell.querySelector(".ring");
  const drawing = cell.querySelector("svg");
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
    const share = cell.clientWidth / plot.width;
    const left = Math.min(x * share + 10, cell.clientWidth - tip.offsetWidth);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${y * share + (y > plot.height / 2 ? -tip.offsetHeight - 10 : 10)}px`;
  };
  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) * plot.width) / box.width;
    const y = ((event.clientY - box.top) * plot.height) / box.height;
    const distance = hits.map((h) => Math.hypot(h[0] - x, h[1] - y));
    const nearest = distance.indexOf(Math.min(...distance));
    show(distance[nearest] < 30 ? nearest : -1);
  });
  drawing.addEventListener("pointerleave", () => show(-1));
  drawing.addEventListener("blur", () => show(-1));
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") show(-1);
    if (!step || !hits.length) return;
    event.preventDefault();
    show((now + step + hits.length) % hits.length);
  });
}
