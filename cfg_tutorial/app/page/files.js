// Saves figures as SVG, PNG and CSV, and pictures. Knows nothing of how charts are drawn.

const LIGHT = {
  "--ink": "#1b1b1b",
  "--card": "#ffffff",
  "--line": "#d0d0cc",
  "--quiet": "#565656",
  "--mark": "#0060a0",
  "--perfect": "#ccbb44",
};

/** Return where a figure stands, its title, what is said of it and its legend. */
function partsOf(id) {
  if (id === "live") {
    const title = `The exact model, live: guidance scale ${number(live.scale, 1)}`;
    return { host: byId("live-body"), title, said: byId("live-note").textContent, names: [] };
  }
  const figure = figures.find((f) => f.id === id);
  if (figure) {
    const names = legendOf(panelsOf(figure));
    return { host: byId(`figure-${id}`), title: figure.title, said: sources(), names };
  }
  const domain = page.domains.find((d) => `bars_${d.name}` === id);
  const title = `${domain.name}, ${classOf(domain)}, guidance scale ${scaleNow()}`;
  return { host: byId(`panel-${domain.name}`), title, said: sources([domain]), names: [] };
}

/** Return a chart and its size; the live plane's own units are too small. */
function sized(drawing) {
  if (drawing.id === "live-plane") return { drawing, width: 400, height: 400 };
  const { width, height } = drawing.viewBox.baseVal;
  return { drawing, width, height };
}

/** Return a figure as one SVG file: charts side by side, title, legend, sources; light colours. */
function fileSvg(id) {
  const { host, title, said, names } = partsOf(id);
  const charts = [...host.querySelectorAll("svg.chart")].map(sized);
  const columns = Math.min(4, charts.length);
  const w = Math.max(...charts.map((c) => c.width));
  const h = Math.max(...charts.map((c) => c.height));
  const width = Math.max(columns * w, 480);
  const top = 26; // below the title
  const below = top + Math.ceil(charts.length / columns) * h;
  const under = below + 18 * Math.ceil(names.length / 2) + 24; // below the legend
  const write = (node) => new XMLSerializer().serializeToString(node);
  const copies = charts.map((one, i) => {
    const copy = one.drawing.cloneNode(true);
    copy.querySelectorAll(".ring").forEach((ring) => ring.remove());
    copy.setAttribute("x", (i % columns) * w);
    copy.setAttribute("y", top + Math.floor(i / columns) * h);
    copy.setAttribute("width", one.width);
    copy.setAttribute("height", one.height);
    return write(copy);
  });
  const marks = names.map(([name, mark], i) => {
    const [x, y] = [10 + ((i % 2) * width) / 2, below + 8 + 18 * Math.floor(i / 2)];
    const inner = mark.replace("<svg", '<svg width="26" height="12"') + textAt(32, 10, name);
    return element("g", { transform: `translate(${x} ${y})` }, inner);
  });
  const letters = Math.floor((width - 20) / 6.2); // in a line
  const lines = said.match(new RegExp(`.{1,${letters}}(\\s|$)`, "g"));
  const notes = lines.map((line, i) => textAt(10, under + 15 * i, line));
  const height = under + 15 * lines.length;
  const look = { viewBox: `0 0 ${width} ${height}`, width, height };
  const holder = document.createElement("template"); // the parser knows what name SVG goes by
  holder.innerHTML = element(
    "svg",
    { ...look, "font-family": "system-ui, sans-serif" },
    [
      rect(0, 0, width, height, { fill: "#ffffff" }),
      textAt(10, 17, title, BOLD),
      ...copies,
      ...marks,
      ...notes,
    ].join(""),
  );
  const coloured = write(holder.content.firstChild).replace(/var\((--\w+)\)/g, (_, n) => LIGHT[n]);
  return { text: coloured, width, height };
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function savePicture(domain) {
  const sample = sampleNow(domain);
  if (!sample?.frame) return;
  const bytes = Uint8Array.from(atob(sample.frame.png.split(",")[1]), (c) => c.charCodeAt(0));
  const name = `samples_${domain.name}_${sample.label}_${scaleNow()}.png`;
  save(name, new Blob([bytes], { type: "image/png" }));
}

async function savePng(id) {
  const { text, width, height } = fileSvg(id);
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => save(`${id}.png`, blob));
}

function saveFigure(kind, id) {
  if (kind === "picture") savePicture(domainOf(id));
  if (kind === "png") savePng(id);
  if (kind === "svg") save(`${id}.svg`, new Blob([fileSvg(id).text], { type: "image/svg+xml" }));
  if (kind === "csv") save(`${id}.csv`, new Blob([csvOf(rowsFor(id))], { type: "text/csv" }));
}
