// Thumbnails in pages, one of them chosen, with mouse or arrow keys; pictures are asked for when their page is seen.

const PAGE = 60;
const BATCH = 12;

function makeGallery({ name, onChoose, ask, badge }) {
  const grid = make("div", { class: "wb-grid", role: "listbox", "aria-label": name });
  const place = make("span", { class: "wb-place" });
  const turn = (step, label, sign) => make("button", { type: "button", "aria-label": label, onclick: () => open(page + step) }, sign);
  const back = turn(-1, "previous page", "‹"), forth = turn(1, "next page", "›");
  const element = make("div", { class: "wb-gallery" }, grid, make("div", { class: "wb-pager" }, back, place, forth));
  const pictures = new Map(), asked = new Set();
  let cases = [], page = 0, chosen = null;

  const pages = () => Math.max(1, Math.ceil(cases.length / PAGE));
  const tiles = () => [...grid.children].filter((tile) => tile.dataset.id !== undefined);
  const at = (id) => cases.findIndex((one) => one.id === id);

  function open(next, focus) {
    page = Math.min(pages() - 1, Math.max(0, next));
    const first = page * PAGE;
    const shown = cases.slice(first, first + PAGE);
    grid.replaceChildren(...(shown.length ? shown.map(tile) : [make("p", { class: "wb-faint" }, "No case meets this choice.")]));
    place.textContent = cases.length ? `${first + 1}–${first + shown.length} of ${cases.length}` : "0 of 0";
    back.disabled = page === 0;
    forth.disabled = page >= pages() - 1;
    mark(focus);
    const missing = shown.map((one) => one.id).filter((id) => !pictures.has(id) && !asked.has(id));
    missing.forEach((id) => asked.add(id));
    for (let k = 0; k < missing.length; k += BATCH) ask(missing.slice(k, k + BATCH));
  }

  function tile(one) {
    const img = make("img", { alt: "", draggable: "false" });
    const element = make("div", { class: "wb-tile", role: "option", tabindex: "-1" }, img, badge(one));
    element.dataset.id = one.id;
    element.addEventListener("click", () => choose(one.id, true));
    if (pictures.has(one.id)) fill(element, pictures.get(one.id));
    return element;
  }

  function fill(element, uri) {
    const img = element.querySelector("img");
    if (uri) img.src = uri;
    else img.replaceWith(make("span", { class: "wb-unreadable" }, "cannot be read"));
  }

  function mark(focus) {
    const all = tiles();
    const current = all.find((tile) => tile.dataset.id === chosen);
    for (const tile of all) {
      tile.setAttribute("aria-selected", String(tile === current));
      tile.tabIndex = -1;
    }
    // Exactly one tile can be reached by Tab; the arrows do the rest.
    const entry = current ?? all[0];
    if (entry) entry.tabIndex = 0;
    if (focus && current) current.focus({ preventScroll: true });
    if (current) keepInView(current);
  }

  // Within the gallery only: the notebook stays where the reader has it.
  function keepInView(tile) {
    const top = tile.offsetTop - grid.offsetTop, bottom = top + tile.offsetHeight;
    if (top < grid.scrollTop) grid.scrollTop = top - 4;
    else if (bottom > grid.scrollTop + grid.clientHeight) grid.scrollTop = bottom - grid.clientHeight + 4;
  }

  function choose(id, focus) {
    if (id === chosen) return mark(focus);
    select(id, focus);
    onChoose(id);
  }

  function select(id, focus) {
    chosen = id;
    const position = at(id);
    if (position >= 0 && Math.floor(position / PAGE) !== page) open(Math.floor(position / PAGE), focus);
    else mark(focus);
  }

  const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  grid.addEventListener("keydown", (event) => {
    if (!cases.length) return;
    const focused = event.target.closest?.("[data-id]")?.dataset.id ?? chosen;
    const here = Math.max(0, at(focused));
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns(), PageDown: PAGE, PageUp: -PAGE };
    let next;
    if (event.key in steps) next = here + steps[event.key];
    else if (event.key === "Home") next = 0;
    else if (event.key === "End") next = cases.length - 1;
    else if (event.key === "Enter" || event.key === " ") next = here;
    else return;
    event.preventDefault();
    choose(cases[Math.min(cases.length - 1, Math.max(0, next))].id, true);
  });

  return {
    element,
    show(next) { cases = next; const position = at(chosen); open(position < 0 ? 0 : Math.floor(position / PAGE)); },
    select,
    receive(more) {
      for (const [id, uri] of Object.entries(more)) {
        pictures.set(id, uri);
        const element = tiles().find((tile) => tile.dataset.id === id);
        if (element) fill(element, uri);
      }
    },
  };
}
