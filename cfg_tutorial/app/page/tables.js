// Writes rows as tables and as CSV, and the buttons below a figure. Knows nothing of charts.

const namesOf = (rows) => [...new Set(rows.flatMap((row) => Object.keys(row)))];

/** Return what a figure, the bars of a panel or the live mixture show, a row each. */
function rowsFor(id) {
  if (id === "live") return live.rows();
  const figure = figures.find((f) => f.id === id);
  return figure ? figureRows(figure) : barRows(page.domains.find((d) => `bars_${d.name}` === id));
}

function tableOf(rows) {
  const names = namesOf(rows);
  const value = (v) => escape(typeof v === "number" ? number(v, 4) : (v ?? ""));
  const head = names.map((n) => `<th scope="col">${escape(n.replaceAll("_", " "))}</th>`);
  const line = (row) => `<tr>${names.map((n) => `<td>${value(row[n])}</td>`).join("")}</tr>`;
  return `<div class="wide" tabindex="0" role="region" aria-label="table"><table>
    <thead><tr>${head.join("")}</tr></thead>
    <tbody>${rows.map(line).join("")}</tbody></table></div>`;
}

function fillTable(details) {
  details.querySelectorAll(".wide").forEach((old) => old.remove());
  details.insertAdjacentHTML("beforeend", tableOf(rowsFor(details.dataset.table)));
}

function csvOf(rows) {
  const names = namesOf(rows);
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [names, ...rows.map((row) => names.map((n) => row[n]))];
  return lines.map((line) => `${line.map((v) => quoted(String(v ?? ""))).join(",")}\n`).join("");
}

/** Return the buttons that save a figure, and its table, closed. */
function tools(id, title, more = "") {
  const button = (kind) => {
    const what = { "data-save": kind.toLowerCase(), "data-figure": id };
    const said = { "aria-label": `Download ${kind}: ${title}` };
    return element("button", { type: "button", ...what, ...said }, kind);
  };
  const buttons = ["PNG", "SVG", "CSV"].map(button).join("");
  const table = `<summary>Table: ${escape(title)}</summary>`;
  return `<div class="tools">${buttons}${more}
    <details data-table="${id}">${table}</details></div>`;
}
