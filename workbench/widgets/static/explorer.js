// The explorer: gallery on the left, the case in the middle, what the model says of it on the right.

const ORDERS = [["cohort", "as in the cohort"], ["wrong", "most wrong first"], ["high", "highest score first"], ["low", "lowest score first"]];
const SORTS = {
  cohort: () => 0,
  wrong: (a, b) => a.truth_score - b.truth_score,
  high: (a, b) => b.score - a.score,
  low: (a, b) => a.score - b.score,
};
const MARKS = {
  "true positive": ["✓", "TP"], "true negative": ["✓", "TN"], "false negative": ["✗", "FN"], "false positive": ["✗", "FP"],
  right: ["✓", "right"], wrong: ["✗", "wrong"],
};
const isWrong = (outcome) => outcome.startsWith("false") || outcome === "wrong";
const plural = (outcome) => (outcome.endsWith("e") ? `${outcome}s` : outcome);

function render({ model, el }) {
  const choices = model.get("choices"), columns = model.get("cases");
  const cases = columns.id.map((id, k) => Object.fromEntries(Object.keys(columns).map((name) => [name, columns[name][k]])));
  const byId = new Map(cases.map((one) => [one.id, one]));
  const titles = Object.fromEntries(choices.methods);
  const save = (name, value) => { model.set(name, value); model.save_changes(); };
  let image = null, heat = null, alive = true;

  // ---- what is asked of the kernel: one question of a kind at a time, and only the last wish after it
  const flying = {}, wished = {};
  function want(ask, question) {
    const key = JSON.stringify(question);
    wished[ask] = { key, question };
    if (!flying[ask]) launch(ask);
  }
  function launch(ask) {
    const { key, question } = wished[ask];
    delete wished[ask];
    flying[ask] = key;
    model.send({ ask, key, ...question });
  }
  function landed(content, ask) {
    if (flying[ask] !== content.key) return false;
    delete flying[ask];
    if (wished[ask]) { launch(ask); return false; }
    return true;
  }

  // ---- the parts
  const status = make("p", { class: "wb-status", role: "status", "aria-live": "polite" });
  const notice = make("p", { class: "wb-notice", hidden: true });
  const gallery = makeGallery({
    name: "Cases", badge, onChoose: (id) => { model.set("center", null); model.set("width", null); save("selected", id); },
    ask: (ids) => model.send({ ask: "thumbnails", ids }),
  });
  const viewport = makeViewport({
    onWindow(center, width, final) {
      model.set("center", center);
      model.set("width", width);
      if (final) model.save_changes();
    },
    onReset: autoWindow,
    onSlice: (slice) => save("slice_index", slice),
  });
  const bar = makeColourBar();

  const outcomes = Object.keys(MARKS).filter((outcome) => cases.some((one) => one.outcome === outcome));
  const count = (outcome) => cases.filter((one) => one.outcome === outcome).length;
  const filter = chooser("Show", [["all", `all (${cases.length})`],
    ...outcomes.map((outcome) => [outcome, `${plural(outcome)} (${count(outcome)})`])], model.get("outcome"),
    (value) => save("outcome", value));
  const order = chooser("Order", ORDERS, model.get("order"), (value) => save("order", value));

  const method = chooser("Method", choices.methods, model.get("method"), (value) => save("method", value));
  const target = chooser("Explain", choices.targets.map((name) => [name,
    { predicted: "the predicted class", true: "the true class" }[name] ?? name]), model.get("target"), (value) => save("target", value));
  const outline = chooser("Outline", [["", "none"], ...choices.masks.map((name) => [name, name])], model.get("outline"),
    (value) => save("outline", value));
  outline.element.hidden = choices.masks.length === 0;

  let hidden = false;
  const eye = make("button", { type: "button", class: "wb-toggle", "aria-pressed": "false", title: "H", onclick: () => hide(!hidden) }, "Hide map");
  const opacity = slider("Opacity", { min: 0, max: 1, step: 0.01, value: model.get("opacity"),
    show: (value) => `${Math.round(100 * value)} %`, oninput: (value) => { if (hidden) hide(false); save("opacity", value); } });
  const level = slider("Level", { min: 0, max: 1, step: 0.001, value: 0, show: number,
    oninput: (value) => setWindow(value, width.input.valueAsNumber) });
  const width = slider("Window", { min: 0, max: 1, step: 0.001, value: 1, show: number,
    oninput: (value) => setWindow(level.input.valueAsNumber, value) });
  const auto = make("button", { type: "button", onclick: autoWindow }, "Auto window");
  const slice = slider("Slice", { min: 0, max: 1, step: 1, value: 0, show: (value) => `${value + 1}`,
    oninput: (value) => save("slice_index", value) });
  slice.element.hidden = true;

  const heading = make("h3", { class: "wb-case" });
  const verdict = make("p", { class: "wb-verdict" });
  const scores = make("div", { class: "wb-scores", role: "group", "aria-label": "Scores" });
  const facts = make("dl", { class: "wb-facts" });
  const panel = (name, ...children) => make("section", { class: "wb-panel", "aria-label": name }, make("h4", {}, name), ...children);

  const station = make("div", { class: "wb-explorer" },
    make("div", { class: "wb-left" }, make("div", { class: "wb-filters" }, filter.element, order.element), gallery.element),
    make("div", { class: "wb-middle" }, viewport.element, slice.element, bar.element, notice, status),
    make("div", { class: "wb-right" },
      make("section", { class: "wb-panel", "aria-label": "Case" }, heading, verdict, scores),
      panel("Heat map", method.element, target.element, opacity.element, outline.element, eye),
      panel("Window", width.element, level.element, auto),
      panel("Patient and image", facts)));
  const root = make("div", { class: "wb", role: "group", "aria-label": `Explorer of ${choices.name}` }, station);
  keepKeys(root);
  root.addEventListener("keydown", (event) => {
    const typing = event.target.matches("select, input:not([type=range])");
    if (!typing && event.key.toLowerCase() === "h" && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      hide(!hidden);
    }
  });

  function badge(one) {
    const [sign, short] = MARKS[one.outcome];
    const wrong = isWrong(one.outcome);
    return make("div", { class: "wb-badge" },
      make("span", { class: wrong ? "wb-mark wb-wrong" : "wb-mark", title: one.outcome, "aria-label": one.outcome }, `${sign} ${short}`),
      make("span", { class: "wb-score", "aria-label": `score ${one.score.toFixed(2)}` }, one.score.toFixed(2)),
      make("span", { class: "wb-truth" }, said(one.label)));
  }

  // ---- from the state to the screen
  function arrange() {
    const wanted = model.get("outcome"), sort = SORTS[model.get("order")] ?? SORTS.cohort;
    filter.select.value = wanted;
    order.select.value = model.get("order");
    gallery.show(cases.filter((one) => wanted === "all" || one.outcome === wanted).sort(sort));
  }

  function choose() {
    const id = model.get("selected"), one = byId.get(id);
    gallery.select(id);
    heading.replaceChildren(said(id));
    verdict.replaceChildren(make("span", { class: isWrong(one.outcome) ? "wb-mark wb-wrong" : "wb-mark" }, one.outcome),
      " truth: ", said(one.label), " · predicted: ", said(one.predicted));
    say(`Opening ${id}.`);
    want("image", { id });
  }

  function ready(record, plane) {
    image = decodeImage(record, plane);
    heat = null;
    viewport.show(image, `Image ${record.id} with heat map`);
    slice.element.hidden = image.depth < 2;
    showScores(record.scores);
    facts.replaceChildren(...record.facts.map(([name, value]) =>
      make("div", {}, make("dt", {}, said(name)), make("dd", value === "missing" ? { class: "wb-faint" } : {}, said(value)))));
    const range = image.most - image.least || 1, step = range > 50 ? 1 : range / 500;
    level.put(0, { min: image.least, max: image.most, step });
    width.put(0, { min: step, max: range, step });
    look();
    askMap();
    askMask();
  }

  function askMap() {
    if (!image) return;
    heat = null;
    viewport.setHeat(null);
    bar.show(null);
    warn("");
    viewport.busy(`Computing ${titles[model.get("method")]} …`);
    root.dataset.ready = "";
    want("map", { id: image.id, method: model.get("method"), target: model.get("target") });
  }

  function askMask() {
    viewport.setMask(null);
    const name = model.get("outline");
    outline.select.value = name;
    if (image && name) want("mask", { id: image.id, name });
  }

  function look() {
    opacity.put(model.get("opacity"));
    if (!image) return;
    const [center, span] = currentWindow();
    level.put(center);
    width.put(span);
    const chosen = model.get("slice_index");
    const at = chosen < 0 ? Math.floor(image.depth / 2) : Math.min(chosen, image.depth - 1);
    slice.put(at, { max: image.depth - 1 });
    viewport.set({ low: center - span / 2, high: center + span / 2, opacity: hidden ? 0 : model.get("opacity"), slice: at });
    viewport.corners.bl.textContent = `W ${number(span)}  L ${number(center)}`;
    viewport.corners.br.textContent = `${image.width} × ${image.height}${image.reduced ? ", reduced to fit" : ""}`
      + (image.depth > 1 ? ` · slice ${at + 1} / ${image.depth}` : "");
  }

  const currentWindow = () => [model.get("center") ?? (image.low + image.high) / 2, model.get("width") ?? image.high - image.low];
  function setWindow(center, span) { model.set("center", center); model.set("width", span); model.save_changes(); }
  function autoWindow() { setWindow(null, null); }
  function hide(yes) {
    hidden = yes;
    eye.setAttribute("aria-pressed", String(yes));
    look();
  }

  function showScores(values) {
    scores.replaceChildren(...choices.classes.map((name, k) => make("div", { class: "wb-scorebar" },
      make("span", {}, said(name)),
      make("span", { class: "wb-track", "aria-hidden": "true" }, make("span", { style: `width:${100 * values[k]}%` })),
      make("span", { class: "wb-value-text" }, values[k].toFixed(3)))));
  }

  function showMap(record, plane) {
    heat = decodeHeat(record, plane, choices.colours);
    viewport.busy("");
    viewport.setHeat(heat);
    bar.show(record.flag ? null : heat, record.explains);
    viewport.corners.tr.replaceChildren(`${titles[record.method]} · `, said(record.explains));
    if (record.flag === "no evidence") warn(`No evidence: ${titles[record.method]} is zero everywhere in this image, so nothing in it spoke for “${record.explains}”. The image is shown without colour.`);
    else if (record.flag === "constant") warn("The map has one value everywhere: it does not tell one place from another.");
    say(`${titles[record.method]} of ${record.id} for ${record.explains}, logit ${number(record.logit)}.`);
    root.dataset.ready = record.id;
  }

  const say = (text) => { status.textContent = text; };
  function warn(text) { notice.hidden = !text; notice.textContent = text; }

  // ---- answers of the kernel
  function receive(content, buffers) {
    if (!alive) return;
    if (content.tell === "thumbnails") gallery.receive(content.pictures);
    else if (content.tell === "image" && landed(content, "image")) ready(content, buffers[0]);
    else if (content.tell === "map" && landed(content, "map") && content.id === image?.id) showMap(content, buffers[0]);
    else if (content.tell === "mask" && landed(content, "mask") && content.id === image?.id) {
      viewport.setMask(content.empty ? null : new Uint8Array(aligned(buffers[0])));
      if (content.empty) say(`This image has no ${content.name}.`);
    } else if (content.tell === "error" && landed(content, content.of)) {
      viewport.busy("");
      warn(content.text);
      root.dataset.ready = content.id;
    }
  }

  const changes = {
    "change:selected": choose, "change:outcome change:order": arrange, "change:outline": askMask,
    "change:method change:target": () => {
      method.select.value = model.get("method");
      target.select.value = model.get("target");
      askMap();
    },
    "change:opacity change:center change:width change:slice_index": look, "msg:custom": receive,
  };
  for (const [events, answer] of Object.entries(changes)) for (const event of events.split(" ")) model.on(event, answer);
  el.append(root);
  arrange();
  choose();
  look();
  return () => {
    alive = false;
    viewport.stop();
    for (const [events, answer] of Object.entries(changes)) for (const event of events.split(" ")) model.off(event, answer);
    root.remove();
  };
}

export default { render };
