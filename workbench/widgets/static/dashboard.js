// The bias dashboard. Python computes and words everything; this module draws it and reports what was chosen.
// Whatever comes from data is set as textContent or an attribute, never parsed as markup.

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 6; // --wbd-c0 … --wbd-c5 in dashboard.css
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "14 4", "4 2"];
const MARKS = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0", // disc
  "M-3.6-3.6h7.2v7.2h-7.2z", // square
  "M0-4.8L4.6 3.4H-4.6z", // triangle
  "M0-5L5 0 0 5-5 0z", // diamond
  "M0 4.8L4.6-3.4H-4.6z", // triangle, point down
  "M-1.6-4.6h3.2v3h3v3.2h-3v3h-3.2v-3h-3v-3.2h3z", // plus
];
const WAITING = 600; // ms without an answer until the widget says that the kernel is busy

function render({ model, el }) {
  // Every widget loads this module anew, so no counter tells two dashboards on a page apart.
  const id = `wbd-${Math.random().toString(36).slice(2)}`;
  const about = model.get("about");
  const parts = build(id, about);
  el.append(parts.root);

  let wanted = model.get("threshold"); // where the slider stands
  let asked = null; // the threshold that the kernel is working on, null when none
  let timer = 0;

  // ---- the threshold: one request in flight, the latest wins ---------------------------------------------------

  function move(value) {
    wanted = value;
    showThreshold();
    markCurves(parts, model, wanted, false);
    request();
  }

  function request() {
    if (asked !== null || wanted === model.get("view").threshold) return;
    asked = wanted;
    clearTimeout(timer);
    timer = setTimeout(() => parts.root.classList.add("wbd-waiting"), WAITING);
    model.set("threshold", asked);
    model.save_changes();
  }

  function answered() {
    if (asked !== null && model.get("view").threshold === asked) {
      asked = null;
      clearTimeout(timer);
      parts.root.classList.remove("wbd-waiting");
    }
    if (asked === null && model.get("threshold") === model.get("view").threshold) request();
  }

  function showThreshold() {
    parts.slider.value = wanted;
    parts.slider.setAttribute("aria-valuetext", wanted.toFixed(2));
    if (parts.number.getRootNode().activeElement !== parts.number) parts.number.value = decimals(wanted);
    parts.reset.disabled = wanted === about.threshold;
  }

  // ---- what the kernel says --------------------------------------------------------------------------------------

  const listeners = {
    "change:threshold": () => {
      if (model.get("threshold") === asked) return;
      wanted = model.get("threshold"); // set from Python or in another view of the same dashboard
      asked = null;
      showThreshold();
      markCurves(parts, model, wanted, false);
    },
    "change:view": () => {
      drawTable(parts, model, choose);
      drawForest(parts, model, choose);
      highlight(parts, model);
      answered();
      markCurves(parts, model, wanted, wanted === model.get("view").threshold);
    },
    "change:curves": () => {
      drawCurves(parts, model, choose);
      highlight(parts, model);
      markCurves(parts, model, wanted, false);
    },
    "change:metric": () => {
      parts.metric.value = model.get("metric");
      drawTable(parts, model, choose);
      drawForest(parts, model, choose);
      highlight(parts, model);
    },
    "change:show": () => {
      drawTable(parts, model, choose);
      drawForest(parts, model, choose);
      highlight(parts, model);
    },
    "change:by": () => { parts.by.value = model.get("by"); },
    "change:selected": () => {
      highlight(parts, model);
      markCurves(parts, model, wanted, wanted === model.get("view").threshold);
    },
    "change:words": () => speak(parts, model),
  };
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);

  // ---- what the person does --------------------------------------------------------------------------------------

  function save(name, value) {
    model.set(name, value);
    model.save_changes();
  }

  function choose(group) {
    save("selected", model.get("selected") === group ? "" : group);
  }

  parts.slider.addEventListener("input", () => {
    complain(parts, "");
    move(Number(parts.slider.value));
    parts.number.value = decimals(wanted);
  });
  parts.number.addEventListener("change", () => {
    const value = parts.number.value.trim() === "" ? NaN : Number(parts.number.value);
    if (!(value >= 0 && value <= 1)) {
      complain(parts, "The threshold is a number from 0 to 1, for example 0.35. The last one is kept.");
      parts.number.value = decimals(wanted);
      return;
    }
    complain(parts, "");
    move(value);
  });
  parts.reset.addEventListener("click", () => {
    complain(parts, "");
    move(about.threshold);
    parts.number.value = decimals(wanted);
  });
  parts.by.addEventListener("change", () => save("by", parts.by.value));
  parts.metric.addEventListener("change", () => save("metric", parts.metric.value));
  for (const choice of parts.show) choice.addEventListener("change", () => { if (choice.checked) save("show", choice.value); });
  keepKeys(parts.root);
  parts.root.addEventListener("keydown", event => {
    if (event.key === "Escape" && model.get("selected")) save("selected", "");
  });

  parts.by.value = model.get("by");
  parts.metric.value = model.get("metric");
  showThreshold();
  speak(parts, model);
  drawCurves(parts, model, choose);
  drawTable(parts, model, choose);
  drawForest(parts, model, choose);
  highlight(parts, model);
  markCurves(parts, model, wanted, wanted === model.get("view").threshold);

  return () => {
    clearTimeout(timer);
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
    parts.root.remove();
  };
}

// ---- the frame -------------------------------------------------------------------------------------------------------

function build(id, about) {
  const slider = make("input", {
    type: "range", min: 0, max: 1, step: 0.01, id: `${id}-slider`, "aria-describedby": `${id}-meaning`,
  });
  const number = make("input", { type: "number", min: 0, max: 1, step: 0.01, "aria-label": "Threshold as a number" });
  const reset = make("button", { type: "button", class: "wbd-reset" }, `Back to ${decimals(about.threshold)}`);
  reset.title = "The threshold the audit was made at";
  const by = select(`${id}-by`, about.partitions.map(name => [name, name]));
  const metric = select(`${id}-metric`, about.metrics.map(({ name, title }) => [name, title]));
  const words = make("div", { class: "wbd-words", "aria-live": "polite", "aria-atomic": "true" });
  const problem = make("p", { class: "wbd-problem", role: "alert", hidden: "" });
  const roc = svg("svg", { viewBox: "0 0 340 330", class: "wbd-roc", role: "img" });
  const legend = make("div", { class: "wbd-legend", role: "group", "aria-label": "Groups: press to highlight" });
  const forest = make("div", { class: "wbd-forest" });
  const forestTitle = make("figcaption", {});
  const table = make("table", { class: "wbd-table", role: "table" });
  const show = ["values", "gaps"].map(value => make("input", { type: "radio", name: `${id}-show`, value }));

  const controls = make("div", { class: "wbd-controls", role: "group", "aria-label": "What is shown" }, [
    make("div", { class: "wbd-control wbd-threshold" }, [
      make("label", { for: slider.id }, "Threshold"), slider, number, reset,
    ]),
    ...(about.partitions.length ? [control("Groups by", by)] : []),
    control("Metric", metric),
    ...(about.partitions.length ? [switcher(`${id}-shown`, show)] : []),
    make("p", { class: "wbd-meaning", id: `${id}-meaning` }, about.meaning),
  ]);
  const root = make("section", { class: "wbd", "aria-label": "Bias dashboard" }, [
    make("header", {}, [
      make("p", { class: "wbd-facts" }, about.facts),
      warnings(about.warnings),
      words,
    ]),
    controls,
    problem,
    make("div", { class: "wbd-panels" }, [
      make("figure", { class: "wbd-panel" }, [make("figcaption", {}, "ROC curves; marks stand at the threshold"), roc, legend]),
      make("figure", { class: "wbd-panel" }, [forestTitle, forest]),
    ]),
    make("div", { class: "wbd-scroll" }, [table]),
    make("p", { class: "wbd-busy", role: "status" }, "The kernel is busy; the numbers follow when it is free."),
  ]);
  return { id, root, slider, number, reset, by, metric, show, words, problem, roc, legend, forest, forestTitle, table, rows: new Map() };
}

function control(name, field) {
  return make("div", { class: "wbd-control" }, [make("label", { for: field.id }, name), field]);
}

function switcher(id, choices) {
  const names = { values: "Values", gaps: "Gaps" };
  return make("div", { class: "wbd-control wbd-show", role: "radiogroup", "aria-labelledby": id }, [
    make("span", { id, class: "wbd-name-of" }, "Show"),
    ...choices.map(choice => make("label", {}, [choice, make("span", {}, names[choice.value])])),
  ]);
}

function select(id, options) {
  return make("select", { id }, options.map(([value, name]) => make("option", { value }, name)));
}

function warnings(list) {
  if (!list.length) return "";
  const items = make("ul", {}, list.map(text => make("li", {}, text)));
  if (list.length <= 2) return make("div", { class: "wbd-warnings" }, [items]);
  const summary = make("summary", {}, `${list.length} warnings of the audit`);
  return make("details", { class: "wbd-warnings" }, [summary, items]);
}

function speak(parts, model) {
  const [finding, ...rest] = model.get("words");
  parts.words.replaceChildren(
    // An interval stays on one line.
    make("p", { class: "wbd-finding" }, (finding ?? "").split(/(\[[^\]]*\],?)/).map(part => make("span", {}, part))),
    ...(rest.length ? [make("p", { class: "wbd-rest" }, rest.join(" "))] : []),
  );
}

function complain(parts, sentence) {
  parts.problem.textContent = sentence;
  parts.problem.hidden = !sentence;
}

// ---- the subgroup table ------------------------------------------------------------------------------------------------

// With values shown there is a column for each metric, with gaps one for the chosen metric's and its p-values.
function columns(model) {
  const { metrics } = model.get("about");
  if (model.get("show") === "values") {
    return metrics.map(({ name, title }) => ({ head: title, metric: name, of: row => valueText(row.cells[name]), note: row => row.cells[name]?.note }));
  }
  const { name, title } = metrics.find(metric => metric.name === model.get("metric"));
  const gap = row => row.gaps[name];
  return [
    { head: `${title}: group − ${model.get("view").reference}`, metric: name, of: row => valueText(gap(row)), note: row => gap(row)?.note },
    { head: "p", of: row => [gap(row)?.p || "–"], note: row => gap(row)?.note },
    { head: "p (Holm)", of: row => [gap(row)?.holm || "–"], note: row => gap(row)?.note },
    { head: "p (Benjamini–Hochberg)", of: row => [gap(row)?.bh || "–"], note: row => gap(row)?.note },
  ];
}

function shownRows(model) {
  const { rows } = model.get("view");
  return model.get("show") === "gaps" ? rows.filter(row => row.group !== "all") : rows;
}

function drawTable(parts, model, choose) {
  const { by, threshold, error } = model.get("view");
  const { level } = model.get("about");
  const rows = shownRows(model), made = columns(model), chosen = model.get("metric");
  const gaps = model.get("show") === "gaps";
  complain(parts, error);
  for (const choice of parts.show) choice.checked = choice.value === model.get("show");
  // Cells are kept while groups and columns stay the same, so that the focus is not lost while numbers change.
  const key = JSON.stringify([rows.map(row => row.group), made.map(({ head }) => head)]);
  if (parts.table.dataset.key !== key) {
    parts.table.dataset.key = key;
    const noted = make("th", { scope: "col", role: "columnheader", class: "wbd-note" }, "Note");
    const heads = ["Images", "Positives", "Patients", ...made.map(({ head }) => head)];
    parts.table.replaceChildren(
      make("caption", {}),
      make("thead", { role: "rowgroup" }, [make("tr", { role: "row" }, [
        make("th", { scope: "col", role: "columnheader" }, by || "Group"),
        ...heads.map(name => make("th", { scope: "col", role: "columnheader", class: "wbd-number" }, name)),
        noted,
      ])]),
      make("tbody", { role: "rowgroup" }, rows.map(row => tableRow(row, heads, choose))),
    );
  }
  const corrected = gaps ? "; corrected p-values count all gaps of the audit" : "";
  parts.table.querySelector("caption").textContent = `At threshold ${decimals(threshold)}, with ${level}${corrected}`;
  rows.forEach((row, i) => {
    const line = parts.table.tBodies[0].rows[i];
    const counts = [row.n, row.positives, row.patients];
    counts.forEach((count, j) => { line.cells[1 + j].lastChild.textContent = count; });
    made.forEach(({ metric, of, note }, j) => {
      const cell = line.cells[4 + j];
      cell.classList.toggle("wbd-chosen", metric === chosen);
      cell.classList.toggle("wbd-small", Boolean(note(row)));
      cell.title = note(row) ?? "";
      cell.lastChild.replaceChildren(...of(row));
    });
    const told = made.find(({ metric }) => metric === chosen).note(row) ?? "";
    line.classList.toggle("wbd-small", Boolean(told));
    line.cells[4 + made.length].textContent = told;
  });
  [...parts.table.tHead.rows[0].cells].slice(4, 4 + made.length)
    .forEach((head, j) => head.classList.toggle("wbd-chosen", made[j].metric === chosen));
  parts.table.classList.toggle("wbd-noteless", [...parts.table.tBodies[0].rows].every(line => !line.lastChild.textContent));
}

function tableRow(row, heads, choose) {
  const line = make("tr", { role: "row", "data-group": row.group, class: row.group === "all" ? "wbd-all" : "" }, [
    make("th", { scope: "row", role: "rowheader" }, groupName(row, choose)),
    ...heads.map(head => make("td", { role: "cell", class: "wbd-number" }, [
      make("span", { class: "wbd-label", "aria-hidden": "true" }, head), make("span", {}),
    ])),
    make("td", { role: "cell", class: "wbd-note" }),
  ]);
  if (row.group !== "all") clickable(line, () => choose(row.group));
  return line;
}

function valueText(cell) {
  if (!cell || cell.value === null) return ["–"];
  const interval = make("span", { class: "wbd-interval" }, cell.interval ? ` [${cell.interval}]` : "");
  return [cell.text, interval];
}

// ---- the forest plot -----------------------------------------------------------------------------------------------------

function drawForest(parts, model, choose) {
  const { metrics, level, bands } = model.get("about");
  const metric = metrics.find(({ name }) => name === model.get("metric"));
  const { scales, reference, rows: all } = model.get("view");
  const gaps = model.get("show") === "gaps", rows = shownRows(model);
  const scale = gaps ? scales[metric.name] : metric;
  const thin = bands ? "; thin: all at once" : "";
  const title = gaps ? `${metric.title}: group − ${reference}` : metric.title;
  parts.forestTitle.textContent = `${title}, with ${level}${thin}${gaps ? "" : "; line and band: overall"}`;
  parts.forest.classList.toggle("wbd-of-gaps", gaps);
  const [from, to] = scale.axis;
  const x = value => `${100 * (Math.min(to, Math.max(from, value)) - from) / (to - from)}%`;
  const overall = gaps ? { value: 0, low: null } : all.find(row => row.group === "all")?.cells[metric.name];
  const key = JSON.stringify([rows.map(row => row.group), metric.name, gaps, scale.axis]);
  if (parts.forest.dataset.key !== key) {
    parts.forest.dataset.key = key;
    parts.forest.replaceChildren(
      ...rows.map(row => forestRow(row, choose)),
      make("div", { class: "wbd-forest-row wbd-axis", "aria-hidden": "true" }, [make("span", {}), lane(axis(scale.ticks, x)), make("span", {})]),
    );
  }
  rows.forEach((row, i) => {
    const line = parts.forest.children[i], cell = gaps ? row.gaps[metric.name] : row.cells[metric.name];
    line.classList.toggle("wbd-small", Boolean(cell?.note));
    line.title = cell?.note ?? "";
    line.lastChild.replaceChildren(...valueText(cell));
    drawTrack(line.children[1].firstChild, { row, cell, overall, ticks: scale.ticks, title, x });
  });
}

function forestRow(row, choose) {
  const line = make("div", { class: "wbd-forest-row", "data-group": row.group }, [
    groupName(row, choose), lane(svg("svg", { class: "wbd-track", role: "img" })), make("span", { class: "wbd-number" }),
  ]);
  if (row.group === "all") line.classList.add("wbd-all");
  else clickable(line, () => choose(row.group));
  return line;
}

function drawTrack(track, { row, cell, overall, ticks, title, x }) {
  const shapes = ticks.map(tick => svg("line", { class: "wbd-gridline", x1: x(tick), x2: x(tick), y1: 0, y2: "100%" }));
  if (overall && overall.value !== null) {
    if (overall.low !== null) {
      const width = `${parseFloat(x(overall.high)) - parseFloat(x(overall.low))}%`;
      shapes.push(svg("rect", { class: "wbd-band", x: x(overall.low), width, y: 0, height: "100%" }));
    }
    shapes.push(svg("line", { class: "wbd-reference", x1: x(overall.value), x2: x(overall.value), y1: 0, y2: "100%" }));
  }
  let label = `${title} in ${row.label}: not estimable. ${cell?.note ?? ""}`;
  if (cell && cell.value !== null) {
    label = `${title} in ${row.label}: ${cell.text}${cell.interval ? `, interval ${cell.interval}` : ""}. ${cell.note}`;
    const mark = svg("svg", { x: x(cell.value), y: "50%", class: `wbd-mark ${tint(row)}` }, [svg("path", { d: shape(row.place) })]);
    if (cell.band_low !== null) {
      shapes.push(svg("line", { class: `wbd-thin ${tint(row)}`, x1: x(cell.band_low), x2: x(cell.band_high), y1: "50%", y2: "50%" }));
    }
    if (cell.low !== null) {
      shapes.push(svg("line", { class: `wbd-whisker ${tint(row)}`, x1: x(cell.low), x2: x(cell.high), y1: "50%", y2: "50%" }));
    }
    shapes.push(mark);
  } else {
    shapes.push(svg("text", { class: "wbd-none", x: "1%", y: "50%", dy: "0.35em" }, "not estimable"));
  }
  track.setAttribute("aria-label", label.trim());
  track.replaceChildren(...shapes);
}

const lane = track => make("span", { class: "wbd-lane" }, track);

function axis(ticks, x) {
  return svg("svg", { class: "wbd-track" }, ticks.map((tick, i) => {
    const anchor = i === 0 ? "start" : i === ticks.length - 1 ? "end" : "middle";
    return svg("text", { x: x(tick), y: "1em", "text-anchor": anchor }, String(tick).replace("-", "−"));
  }));
}

// ---- the ROC curves --------------------------------------------------------------------------------------------------------

const BOX = { left: 44, top: 8, size: 286 };
const across = fpr => BOX.left + BOX.size * fpr;
const down = tpr => BOX.top + BOX.size * (1 - tpr);

function drawCurves(parts, model, choose) {
  const { groups } = model.get("curves");
  const frame = [svg("rect", { class: "wbd-box", x: BOX.left, y: BOX.top, width: BOX.size, height: BOX.size })];
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    frame.push(svg("line", { class: "wbd-gridline", x1: across(tick), x2: across(tick), y1: down(0), y2: down(1) }));
    frame.push(svg("line", { class: "wbd-gridline", x1: across(0), x2: across(1), y1: down(tick), y2: down(tick) }));
    if (tick === 0.25 || tick === 0.75) continue;
    frame.push(svg("text", { x: across(tick), y: down(0) + 15, "text-anchor": "middle" }, String(tick)));
    frame.push(svg("text", { x: across(0) - 6, y: down(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  frame.push(svg("line", { class: "wbd-chance", x1: across(0), y1: down(0), x2: across(1), y2: down(1) }));
  frame.push(svg("text", { x: across(0.5), y: down(0) + 31, "text-anchor": "middle" }, "False-positive rate (1 − specificity)"));
  frame.push(svg("text", { transform: `translate(12 ${down(0.5)}) rotate(-90)`, "text-anchor": "middle" }, "Sensitivity"));

  const lines = groups.map(curve => {
    const points = curve.fpr.map((fpr, k) => `${across(fpr).toFixed(1)},${down(curve.tpr[k]).toFixed(1)}`).join(" ");
    const group = svg("g", { "data-group": curve.group, class: `wbd-curve ${tint(curve)}` }, [
      svg("polyline", { points, "stroke-dasharray": dash(curve.place) }),
      svg("polyline", { points, class: "wbd-reach" }),
    ]);
    if (curve.group !== "all") group.addEventListener("click", () => choose(curve.group));
    return group;
  });
  const marks = groups.map(curve => svg("g", { "data-group": curve.group, class: `wbd-point ${tint(curve)}` }, [
    svg("line", { class: "wbd-whisker" }), svg("line", { class: "wbd-whisker" }), svg("path", { d: shape(curve.place) }),
  ]));
  parts.roc.replaceChildren(...frame, ...lines, ...marks);
  parts.marks = marks;
  parts.legend.replaceChildren(...groups.map(curve => groupName(curve, choose)));
}

// While the kernel is working, marks stand where the curve says; with its answer, where the table says.
function markCurves(parts, model, threshold, settled) {
  const { groups } = model.get("curves");
  const rows = new Map(model.get("view").rows.map(row => [row.group, row]));
  const told = [];
  groups.forEach((curve, i) => {
    const cells = rows.get(curve.group)?.cells ?? {};
    const { sensitivity: tpr, specificity: tnr } = cells;
    const exact = settled && tpr && tnr && tpr.value !== null && tnr.value !== null;
    const point = exact ? { fpr: 1 - tnr.value, tpr: tpr.value } : passing(curve, threshold);
    const [wide, high, mark] = parts.marks[i].children;
    const px = across(point.fpr), py = down(point.tpr);
    parts.marks[i].dataset.fpr = point.fpr;
    parts.marks[i].dataset.tpr = point.tpr;
    mark.setAttribute("transform", `translate(${px} ${py})`);
    const whiskers = exact && curve.group === model.get("selected") && tpr.low !== null && tnr.low !== null;
    place(wide, whiskers && [across(1 - tnr.high), py, across(1 - tnr.low), py]);
    place(high, whiskers && [px, down(tpr.low), px, down(tpr.high)]);
    if (exact) told.push(`${curve.label}: sensitivity ${tpr.text}, specificity ${tnr.text}`);
  });
  parts.roc.setAttribute("aria-label", `ROC curves. At threshold ${decimals(threshold)}: ${told.join("; ")}.`);
}

function place(line, ends) {
  line.style.display = ends ? "" : "none";
  if (ends) ["x1", "y1", "x2", "y2"].forEach((name, i) => line.setAttribute(name, ends[i]));
}

// Where a curve passes a threshold. Thresholds fall along a curve, and images with the threshold or more are positive.
// Straight pieces keep their ends alone, so between two points the mark slides in proportion until the kernel answers.
function passing({ fpr, tpr, threshold: falling }, threshold) {
  let low = 0, high = falling.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (falling[middle] === null || falling[middle] >= threshold) low = middle;
    else high = middle - 1;
  }
  const next = Math.min(low + 1, falling.length - 1);
  const part = falling[low] === null || next === low ? 0 : (falling[low] - threshold) / (falling[low] - falling[next]);
  return { fpr: fpr[low] + part * (fpr[next] - fpr[low]), tpr: tpr[low] + part * (tpr[next] - tpr[low]) };
}

// ---- groups ------------------------------------------------------------------------------------------------------------------

function highlight(parts, model) {
  const selected = model.get("selected");
  const shown = model.get("view").rows.some(row => row.group === selected) ? selected : "";
  parts.root.classList.toggle("wbd-has-selection", Boolean(shown));
  for (const part of parts.root.querySelectorAll("[data-group]")) {
    const on = part.dataset.group === shown;
    part.classList.toggle("wbd-selected", on);
    if (part.localName === "button") part.setAttribute("aria-pressed", on);
  }
}

// The name of a group with its line and mark; pressing it highlights the group everywhere.
function groupName(row, choose) {
  const inside = [sample(row), name(row.label)];
  if (row.group === "all") return make("span", { class: "wbd-name" }, inside);
  const button = make("button", { type: "button", class: "wbd-name", "data-group": row.group, "aria-pressed": "false" }, inside);
  button.title = row.group;
  button.addEventListener("click", event => {
    event.stopPropagation(); // the row around it listens too
    choose(row.group);
  });
  return button;
}

function clickable(element, act) {
  element.classList.add("wbd-clickable");
  element.addEventListener("click", act);
}

// Set apart and left to right: Arabic or Hebrew among the values reorders neither them nor what stands around.
const name = label => make("bdi", { dir: "ltr" }, label);

// The line and mark of a group, as the ROC panel draws them.
function sample(row) {
  return svg("svg", { class: `wbd-sample ${tint(row)}`, viewBox: "0 0 30 12", "aria-hidden": "true" }, [
    svg("line", { x1: 0, x2: 30, y1: 6, y2: 6, "stroke-dasharray": dash(row.place) }),
    svg("path", { d: shape(row.place), transform: "translate(15 6)" }),
  ]);
}

// Place 0 is the overall value, which is grey. The groups after it take colours, dashes and marks in turn, shifted
// after each round, so that no two of the first thirty-six look alike.
function tint(row) {
  return row.place === 0 ? "wbd-overall" : `wbd-t${(row.place - 1) % COLOURS}${row.few ? " wbd-few" : ""}`;
}
const turn = place => (place - 1 + Math.floor((place - 1) / COLOURS)) % COLOURS;
const dash = place => (place === 0 ? "" : DASHES[turn(place)]);
const shape = place => (place === 0 ? MARKS[0] : MARKS[turn(place)]);

// ---- elements ------------------------------------------------------------------------------------------------------------------

function svg(name, attributes = {}, content = []) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...[content].flat()); // text becomes a text node
  return element;
}

function decimals(value) {
  return String(Number(value.toFixed(3))).replace(/^(\d)$/, "$1.0").replace(/^(\d\.\d)$/, "$10");
}

export default { render };
