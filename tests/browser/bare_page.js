// A stand-in for Jupyter's widget model, and what mounts an anywidget module on it in a bare page.
window.unpack = value => {
  if (Array.isArray(value)) return value.map(unpack);
  if (value && typeof value === "object") {
    if ("__base64__" in value) {
      const bytes = Uint8Array.from(atob(value.__base64__), c => c.charCodeAt(0));
      return new DataView(bytes.buffer);
    }
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unpack(v)]));
  }
  return value;
};
window.makeModel = state => {
  const handlers = {}, values = unpack(state), dirty = new Set();
  const outbox = [];
  const fire = (event, ...rest) => (handlers[event] ?? []).slice().forEach(f => f(...rest));
  return {
    outbox, handlers, values,
    get: name => values[name],
    set(name, value) {
      if (values[name] === value) return;
      values[name] = value; dirty.add(name); fire(`change:${name}`, this, value); fire("change", this);
    },
    save_changes() {
      const state = Object.fromEntries([...dirty].map(name => [name, values[name]]));
      dirty.clear();
      if (Object.keys(state).length) outbox.push({ state });
    },
    send: (content, callbacks, buffers) => outbox.push({ content }),
    on: (event, f) => event.split(" ").forEach(e => (handlers[e] ??= []).push(f)),
    off(event, f) {
      const events = event ? event.split(" ") : Object.keys(handlers);
      events.forEach(e => { handlers[e] = f ? (handlers[e] ?? []).filter(g => g !== f) : []; });
    },
    fromKernel(name, value) { values[name] = unpack(value); fire(`change:${name}`, this, values[name]); fire("change", this); },
    receive: (content, buffers) => fire("msg:custom", content, unpack(buffers)),
    listeners: () => Object.values(handlers).reduce((n, list) => n + list.length, 0),
    widget_manager: {},
  };
};
window.mounts = [];
window.mount = async (source, css, state) => {
  const style = document.head.appendChild(document.createElement("style"));
  style.textContent = css;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const module = (await import(url)).default;
  const definition = typeof module === "function" ? await module() : module;
  const model = makeModel(state);
  const el = document.getElementById("cell").appendChild(document.createElement("div"));
  const experimental = {};
  const undo = [await definition.initialize?.({ model, experimental }), await definition.render({ model, el, experimental })];
  mounts.push({ model, el, cleanup: async () => { for (const f of undo) if (typeof f === "function") await f(); } });
  return mounts.length - 1;
};
