// Elements made of text that is never read as markup, so that no name of a patient can become a script.

function make(tag, settings = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "value" || name === "disabled" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// Text from data: set apart, so that Arabic or Hebrew in it does not reorder what stands around.
const said = (text) => make("bdi", {}, String(text));

function slider(name, { min, max, step, value, show = String, oninput }) {
  const reading = make("span", { class: "wb-reading", "aria-hidden": "true" }, show(value));
  const input = make("input", { type: "range", min, max, step, oninput: () => {
    reading.textContent = show(input.valueAsNumber);
    input.setAttribute("aria-valuetext", reading.textContent);
    oninput(input.valueAsNumber);
  } });
  const element = make("label", { class: "wb-slider" }, make("span", {}, name), input, reading);
  const put = (value, range) => {
    if (range) Object.assign(input, range);
    input.value = value;
    reading.textContent = show(value);
    input.setAttribute("aria-valuetext", reading.textContent);
  };
  put(value);
  return { element, input, put };
}

function chooser(name, options, value, onchange) {
  const select = make("select", { onchange: () => onchange(select.value) },
    options.map(([key, text]) => make("option", { value: key }, text)));
  select.value = value;
  const element = make("label", { class: "wb-chooser" }, make("span", {}, name), select);
  return { element, select };
}

// A number as short as its size allows, with a true minus sign.
function number(value, digits = 3) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(1) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

// Keys typed in the widget are the widget's: in JupyterLab's command mode an "x" would cut the cell.
const keepKeys = (root) => root.addEventListener("keydown", (event) => event.stopPropagation());
