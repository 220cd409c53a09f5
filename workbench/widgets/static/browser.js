// The cohort browser: facets on the left, thumbnails, and the image with what is known of it.

function render({ model, el }) {
  const about = model.get("about"), rows = model.get("rows");
  const label = new Map(rows.id.map((id, k) => [id, rows.label[k]]));
  const save = (name, value) => { model.set(name, value); model.save_changes(); };
  let image = null, window_ = null, at = 0, alive = true;

  const status = make("p", { class: "wb-status", role: "status", "aria-live": "polite" });
  const notice = make("p", { class: "wb-notice", hidden: true });
  const gallery = makeGallery({
    name: "Images", onChoose: (id) => save("selected", id), ask: (ids) => model.send({ ask: "thumbnails", ids }),
    badge: (one) => make("div", { class: "wb-badge" }, make("span", { class: "wb-truth" }, said(label.get(one.id)))),
  });
  const viewport = makeViewport({
    onWindow: (center, width) => { window_ = [center - width / 2, center + width / 2]; look(); },
    onReset: () => { window_ = null; look(); },
    onSlice: (next) => { at = next; look(); },
  });

  const words = make("input", { type: "search", placeholder: "id, patient, any value", value: model.get("search") });
  let typing = 0;
  words.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => save("search", words.value), 200);
  });
  const clear = make("button", { type: "button", onclick: () => {
    words.value = "";
    model.set("search", "");
    save("chosen", {});
  } }, "Clear");
  const facets = make("div", { class: "wb-facetlist" });
  const slice = slider("Slice", { min: 0, max: 1, step: 1, value: 0, show: (value) => `${value + 1}`, oninput: (next) => { at = next; look(); } });
  slice.element.hidden = true;
  const outline = chooser("Outline", [["", "none"], ...about.masks.map((name) => [name, name])], model.get("outline"),
    (value) => save("outline", value));
  outline.element.hidden = about.masks.length === 0;
  const heading = make("h3", {});
  const facts = make("dl", { class: "wb-facts" });
  const card = make("dl", { class: "wb-facts" }, pairs(about.card));

  const station = make("div", { class: "wb-browser" },
    make("div", { class: "wb-left" },
      make("div", { class: "wb-panel" }, make("h3", {}, said(about.name)),
        make("p", { class: "wb-faint" }, `${about.images} images of ${about.patients} patients`),
        make("label", { class: "wb-chooser wb-search" }, make("span", {}, "Search"), words), clear),
      facets),
    make("div", { class: "wb-middle" }, gallery.element, status),
    make("div", { class: "wb-right" }, viewport.element, notice, slice.element,
      make("section", { class: "wb-panel", "aria-label": "Image" }, heading, facts, outline.element),
      about.card.length ? make("details", { class: "wb-panel" }, make("summary", {}, "Dataset card"), card) : null));
  const root = make("div", { class: "wb", role: "group", "aria-label": `Browser of ${about.name}` }, station);
  keepKeys(root);

  function pairs(list) {
    return list.map(([name, value]) => make("div", {}, make("dt", {}, said(name)),
      make("dd", value === "missing" ? { class: "wb-faint" } : {}, said(value))));
  }

  // Boxes are kept and only their counts change, so that the keyboard's focus stays where it is.
  const boxes = new Map();
  function drawFacets() {
    const counts = model.get("counts"), chosen = model.get("chosen");
    if (!boxes.size) {
      facets.replaceChildren(...Object.entries(counts).map(([column, values]) => make("fieldset", { class: "wb-panel" },
        make("legend", {}, said(column)), Object.keys(values).map((value) => box(column, value)))));
    }
    for (const { column, value, input, bar, reading } of boxes.values()) {
      const count = counts[column]?.[value] ?? 0;
      const most = Math.max(1, ...Object.values(counts[column] ?? {}));
      reading.textContent = count;
      bar.style.width = `${100 * count / most}%`;
      input.checked = (chosen[column] ?? []).includes(value);
      input.closest("label").classList.toggle("wb-none", count === 0);
    }
  }

  function box(column, value) {
    const input = make("input", { type: "checkbox", onchange: () => {
      const chosen = structuredClone(model.get("chosen")), values = new Set(chosen[column] ?? []);
      if (input.checked) values.add(value); else values.delete(value);
      if (values.size) chosen[column] = [...values]; else delete chosen[column];
      save("chosen", chosen);
    } });
    const bar = make("span", {}), reading = make("span", { class: "wb-value-text" });
    boxes.set(JSON.stringify([column, value]), { column, value, input, bar, reading });
    return make("label", { class: "wb-facet" }, input, make("span", { class: value === "missing" ? "wb-faint" : "" }, said(value)),
      make("span", { class: "wb-track", "aria-hidden": "true" }, bar), reading);
  }

  function arrange() {
    const ids = model.get("filtered");
    gallery.show(ids.map((id) => ({ id })));
    status.textContent = ids.length === about.images ? `All ${ids.length} images.` : `${ids.length} of ${about.images} images.`;
    drawFacets();
  }

  let flying = "";
  function choose() {
    const id = model.get("selected");
    gallery.select(id);
    heading.replaceChildren(said(id));
    if (!flying) { flying = id; model.send({ ask: "image", id }); }
  }

  function landed(id) {
    flying = "";
    if (id !== model.get("selected")) { choose(); return false; }
    return true;
  }

  function ready(record, plane) {
    image = decodeImage(record, plane);
    window_ = null;
    at = Math.floor(image.depth / 2);
    viewport.show(image, `Image ${record.id}`);
    facts.replaceChildren(...pairs(record.facts));
    slice.element.hidden = image.depth < 2;
    warn("");
    look();
    askMask();
    root.dataset.ready = record.id;
  }

  function look() {
    if (!image) return;
    const [low, high] = window_ ?? [image.low, image.high];
    viewport.set({ low, high, slice: at, opacity: 0 });
    slice.put(at, { max: image.depth - 1 });
    viewport.corners.bl.textContent = `W ${number(high - low)}  L ${number((low + high) / 2)}`;
    viewport.corners.br.textContent = `${image.width} × ${image.height}` + (image.depth > 1 ? ` · slice ${at + 1} / ${image.depth}` : "");
  }

  function askMask() {
    viewport.setMask(null);
    const name = model.get("outline");
    outline.select.value = name;
    if (image && name) model.send({ ask: "mask", id: image.id, name });
  }

  function warn(text) { notice.hidden = !text; notice.textContent = text; }

  function receive(content, buffers) {
    if (!alive) return;
    if (content.tell === "thumbnails") gallery.receive(content.pictures);
    else if (content.tell === "image") { if (landed(content.id)) ready(content, buffers[0]); }
    else if (content.tell === "mask" && content.id === image?.id && content.name === model.get("outline")) {
      viewport.setMask(content.empty ? null : new Uint8Array(aligned(buffers[0])));
    } else if (content.tell === "error" && (content.of !== "image" || landed(content.id))) {
      warn(content.text);
      root.dataset.ready = content.id;
    }
  }

  const changes = { "change:selected": choose, "change:filtered": arrange, "change:counts": drawFacets,
    "change:outline": askMask, "msg:custom": receive };
  for (const [event, answer] of Object.entries(changes)) model.on(event, answer);
  el.append(root);
  arrange();
  choose();
  return () => {
    alive = false;
    clearTimeout(typing);
    viewport.stop();
    for (const [event, answer] of Object.entries(changes)) model.off(event, answer);
    root.remove();
  };
}

export default { render };
