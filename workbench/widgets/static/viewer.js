// One image with its heat map, painted here from planes that came once. The blend is that of workbench/imaging/compose.py.

const aligned = (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);

function decodeImage(record, buffer) {
  const [depth, height, width, channels] = record.shape;
  const bytes = aligned(buffer);
  const codes = record.bits === 8 ? new Uint8Array(bytes) : new Uint16Array(bytes);
  return { ...record, depth, height, width, channels, codes };
}

function decodeHeat(record, buffer, colours) {
  const shares = new Int16Array(aligned(buffer));
  const index = new Uint8Array(shares.length);
  const strength = new Float32Array(shares.length);
  for (let i = 0; i < shares.length; i++) {
    const v = shares[i] / 32767;
    index[i] = record.signed ? Math.floor(127.5 + 127.5 * v + 0.5) : Math.floor(255 * v + 0.5);
    strength[i] = Math.abs(v);
  }
  return { ...record, index, strength, colours: record.signed ? colours.diverging : colours.sequential };
}

// g = floor(255 · clip((x − low) / (high − low), 0, 1) + ½) for every code there is.
function greyTable(image, low, high) {
  const table = new Uint8Array(image.bits === 8 ? 256 : 65536);
  const span = Math.max(high - low, 1e-12);
  for (let code = 0; code < table.length; code++) {
    const share = (image.offset + image.scale * code - low) / span;
    table[code] = Math.floor(255 * Math.min(1, Math.max(0, share)) + 0.5);
  }
  return table;
}

// out = floor((1 − a) · g + a · colour + ½), a = opacity · |v|, into RGBA bytes of one slice.
function blend(out, image, table, heat, { opacity, slice }) {
  const { codes, channels } = image;
  const size = image.width * image.height;
  const from = slice * size;
  for (let i = 0, o = 0; i < size; i++, o += 4) {
    const p = (from + i) * channels;
    let r = table[codes[p]], g = r, b = r;
    if (channels === 3) { g = table[codes[p + 1]]; b = table[codes[p + 2]]; }
    const a = heat ? opacity * heat.strength[from + i] : 0;
    if (a > 0) {
      const c = 3 * heat.index[from + i], colours = heat.colours;
      r = Math.floor((1 - a) * r + a * colours[c] + 0.5);
      g = Math.floor((1 - a) * g + a * colours[c + 1] + 0.5);
      b = Math.floor((1 - a) * b + a * colours[c + 2] + 0.5);
    }
    out[o] = r; out[o + 1] = g; out[o + 2] = b; out[o + 3] = 255;
  }
}

// The edge of a mask as an SVG path: marching squares, half way between a pixel inside and one outside.
function contourPath(mask, width, height, slice) {
  const from = slice * width * height;
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && mask[from + y * width + x] > 0;
  const parts = [];
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const corner = [inside(x, y), inside(x + 1, y), inside(x + 1, y + 1), inside(x, y + 1)];
      const crossed = [];
      const edge = [[x + 1, y + 0.5], [x + 1.5, y + 1], [x + 1, y + 1.5], [x + 0.5, y + 1]];
      for (let k = 0; k < 4; k++) if (corner[k] !== corner[(k + 1) % 4]) crossed.push(edge[k]);
      for (let k = 0; k + 1 < crossed.length; k += 2) parts.push(`M${crossed[k]}L${crossed[k + 1]}`);
    }
  }
  return parts.join("");
}

const SVG = "http://www.w3.org/2000/svg";

// The black field with the image: canvas, contour and the readings in its corners. Dragging sets window and level.
function makeViewport({ onWindow, onReset, onSlice }) {
  const canvas = make("canvas", { width: 1, height: 1, role: "img" });
  const contour = document.createElementNS(SVG, "svg");
  const path = contour.appendChild(document.createElementNS(SVG, "path"));
  contour.setAttribute("aria-hidden", "true");
  const corner = (place) => make("div", { class: `wb-corner wb-${place}` });
  const corners = { tl: corner("tl"), tr: corner("tr"), bl: corner("bl"), br: corner("br") };
  const stack = make("div", { class: "wb-stack" }, canvas, contour);
  const veil = make("div", { class: "wb-veil", hidden: true }, make("span", { class: "wb-spinner" }), make("span", {}));
  const element = make("div", { class: "wb-viewport" }, stack, Object.values(corners), veil);
  const context = canvas.getContext("2d");
  let image = null, heat = null, mask = null, pixels = null, frame = 0;
  let table = null, tableFor = "";
  const look = { low: 0, high: 1, opacity: 1, slice: 0 };

  function paint() {
    cancelAnimationFrame(frame);
    frame = 0;
    if (!image) return;
    const wanted = `${look.low} ${look.high}`;
    if (wanted !== tableFor) { table = greyTable(image, look.low, look.high); tableFor = wanted; }
    blend(pixels.data, image, table, heat, look);
    context.putImageData(pixels, 0, 0);
  }
  const later = () => { frame ||= requestAnimationFrame(paint); };
  const outline = () => path.setAttribute("d", image && mask ? contourPath(mask, image.width, image.height, look.slice) : "");

  // Along the field's width and height a drag runs through the image's whole range of values.
  stack.addEventListener("pointerdown", (event) => {
    if (!image || event.button !== 0) return;
    event.preventDefault();
    stack.setPointerCapture(event.pointerId);
    const start = { x: event.clientX, y: event.clientY, low: look.low, high: look.high };
    const range = (image.most - image.least) || 1, extent = Math.max(stack.clientWidth, 1);
    const move = (now) => {
      const width = Math.max((start.high - start.low) + (now.clientX - start.x) / extent * range, range / 500);
      const center = (start.low + start.high) / 2 + (now.clientY - start.y) / extent * range;
      onWindow(center, width, false);
    };
    const end = () => {
      stack.removeEventListener("pointermove", move);
      onWindow((look.low + look.high) / 2, look.high - look.low, true);
    };
    stack.addEventListener("pointermove", move);
    stack.addEventListener("pointerup", end, { once: true });
  });
  stack.addEventListener("dblclick", () => onReset());
  stack.addEventListener("wheel", (event) => {
    if (!image || image.depth < 2) return;
    event.preventDefault();
    onSlice(Math.min(image.depth - 1, Math.max(0, look.slice + Math.sign(event.deltaY))));
  }, { passive: false });

  return {
    element, canvas, corners, path,
    get image() { return image; },
    show(next, name) {
      image = next; heat = mask = null; tableFor = "";
      canvas.width = image.width; canvas.height = image.height;
      contour.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
      stack.style.setProperty("--ratio", image.width / image.height);
      canvas.setAttribute("aria-label", name);
      pixels = context.createImageData(image.width, image.height);
      outline();
    },
    setHeat(next) { heat = next; later(); },
    setMask(next) { mask = next; outline(); },
    set(changes) {
      const moved = changes.slice !== undefined && changes.slice !== look.slice;
      Object.assign(look, changes);
      if (moved) outline();
      later();
    },
    // Busy is said only when it lasts, so that a quick answer does not flicker.
    busy(text) {
      clearTimeout(veil.timer);
      if (text) veil.timer = setTimeout(() => { veil.hidden = false; veil.lastChild.textContent = text; }, 250);
      else veil.hidden = true;
      element.setAttribute("aria-busy", String(Boolean(text)));
    },
    stop() { cancelAnimationFrame(frame); clearTimeout(veil.timer); },
  };
}

// The map's own scale: from nothing to its limit, or from evidence against to evidence for.
function makeColourBar() {
  const canvas = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const ends = make("div", { class: "wb-ends" });
  const meaning = make("div", { class: "wb-ends wb-faint" });
  const element = make("div", { class: "wb-colourbar", hidden: true }, canvas, ends, meaning);
  return {
    element,
    show(heat, name) {
      element.hidden = !heat;
      if (!heat) return;
      const context = canvas.getContext("2d"), strip = context.createImageData(256, 1);
      for (let i = 0; i < 256; i++) strip.data.set([...heat.colours.slice(3 * i, 3 * i + 3), 255], 4 * i);
      context.putImageData(strip, 0, 0);
      const values = heat.signed ? [-heat.limit, 0, heat.limit] : [0, heat.limit / 2, heat.limit];
      ends.replaceChildren(...values.map((value) => make("span", {}, number(value))));
      meaning.replaceChildren(...(heat.signed ? ["speaks against", "speaks for "] : ["no evidence", "speaks for "])
        .map((text, k) => make("span", {}, text, k === 1 ? said(name) : null)));
    },
  };
}
