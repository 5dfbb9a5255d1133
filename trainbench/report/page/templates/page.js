"use strict";

(() => {
  const root = document.documentElement;

  function drawPlots() {
    const specs = JSON.parse(document.getElementById("plots").textContent);
    // Vega's expressions are interpreted, as the page's policy lets no code be made from text.
    const options = {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
    };
    return Promise.all(Array.from(document.querySelectorAll("[data-plot]"), (place) =>
      vegaEmbed(place, fitted(specs[place.dataset.plot], place.clientWidth), options).catch((error) => {
        place.className = "failed";
        place.textContent = `This plot could not be drawn: ${error.message}`;
        console.error(error);
      })));
  }

  function fitted(spec, width) {
    // Row labels may take a third of a narrow place, and a legend what is left of it.
    const axisY = { labelLimit: Math.max(90, Math.min(420, width * 0.38)) };
    const columns = width > 760 ? 2 : 1;
    const left = spec.usermeta.rows ? axisY.labelLimit + 15 : 80;
    const legend = { ...spec.config.legend, labelLimit: (width - left) / columns - 30 };
    return withColumns({ ...spec, config: { ...spec.config, axisY, legend } }, columns, width < 500);
  }

  function withColumns(part, columns, narrow) {
    // Legends state their columns where they are encoded; those with several hold short names.
    if (Array.isArray(part)) return part.map((one) => withColumns(one, columns, narrow));
    if (part === null || typeof part !== "object") return part;
    const copy = {};
    for (const [key, value] of Object.entries(part)) {
      const inner = key === "data" || key === "datasets" ? value : withColumns(value, columns, narrow);
      const splits = key === "legend" && inner && (inner.columns === 1 || narrow);
      copy[key] = splits ? { ...inner, columns } : inner;
    }
    return copy;
  }

  function makeThemeButton() {
    const button = document.getElementById("theme");
    const dark = () => root.dataset.theme
      ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    const show = () => { button.textContent = dark() ? "Light" : "Dark"; };
    button.addEventListener("click", () => {
      root.dataset.theme = dark() ? "light" : "dark";
      show();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
    show();
    button.hidden = false;
  }

  function sortBy(table, column, header) {
    const descending = header.ariaSort === "ascending"
      || (header.ariaSort === "none" && header.classList.contains("n"));
    const sign = descending ? -1 : 1;
    const body = table.tBodies[0];
    const keyed = Array.from(body.rows, (row) => {
      const cell = row.cells[column];
      const number = cell.dataset.v === undefined ? null : Number(cell.dataset.v);
      return { row, number, text: cell.textContent };
    });
    const collator = new Intl.Collator("en", { numeric: true });
    const numeric = header.classList.contains("n");
    keyed.sort((a, b) => {
      if (!numeric) return sign * collator.compare(a.text, b.text);
      // What is unknown comes last in either direction.
      if (a.number === null || b.number === null) return (a.number === null) - (b.number === null);
      return sign * (a.number - b.number);
    });
    for (const other of header.parentNode.cells) other.ariaSort = "none";
    header.ariaSort = descending ? "descending" : "ascending";
    body.append(...keyed.map((one) => one.row));
  }

  function makeSortable(table) {
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      header.querySelector("button").addEventListener("click", () => sortBy(table, column, header));
    });
  }

  function makeFilter(place, table) {
    const output = place.querySelector("output");
    const rows = Array.from(table.tBodies[0].rows);
    let texts = null;
    const apply = (words) => {
      texts ??= new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
      let shown = 0;
      for (const row of rows) {
        const fits = words.every((word) => texts.get(row).includes(word));
        if (row.hidden === fits) row.hidden = !fits;
        shown += fits;
      }
      output.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    };
    place.querySelector("input").addEventListener("input", (event) =>
      apply(event.target.value.toLowerCase().split(/\s+/).filter(Boolean)));
    place.hidden = false;
  }

  makeThemeButton();
  for (const table of document.querySelectorAll("table.sortable")) {
    makeSortable(table);
    makeFilter(table.closest("section").querySelector(".filter"), table);
  }
  drawPlots().then(() => { root.dataset.drawn = "true"; });
})();
