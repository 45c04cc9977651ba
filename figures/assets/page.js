// The page: controls, panels, and one marker that all plots share.

const DATA = JSON.parse(document.getElementById("data").textContent);
const CONFIG = { displayModeBar: false, responsive: true, displaylogo: false };
const element = (id) => document.getElementById(id);
const state = {
  metric: Object.keys(DATA.metrics)[0], height: "log", scale: "shared", plane: 0,
  place: [0, 0], // of the marker, in steps along x and y
  camera: START_CAMERA,
};
const panels = [];

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Plotly's script, unpacked from the page and run; the browser's own gzip keeps the page at a third of its size. */
async function loadPlotly() {
  const packed = Uint8Array.from(atob(element("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  document.head.append(make("script", {}, await new Response(stream).text()));
}

const isLog = () => state.height === "log" && DATA.metrics[state.metric].log;
const isShared = () => state.scale === "shared" && DATA.metrics[state.metric].common;
const planeOf = (surface) => Math.min(state.plane, surface.done.length - 1);
const isNarrow = () => innerWidth < 640;
const hasMetric = (surface) => state.metric in surface.values;
const markerOf = (surface) => [nearest(surface.y, state.place[1]), nearest(surface.x, state.place[0])];

/** Views of all surfaces that have the metric, with shared limits or their own. */
function makeViews() {
  const { label, axis } = DATA.metrics[state.metric];
  const log = isLog();
  const views = DATA.surfaces.map((surface) => {
    if (!hasMetric(surface)) return null;
    const plane = planeOf(surface);
    const grid = heights(surface, state.metric, plane, log);
    const view = {
      surface, metric: state.metric, label, axis, plane, log, grid, marker: markerOf(surface), camera: state.camera, narrow: isNarrow(),
    };
    const [low] = limits([grid]);
    return { ...view, limits: limits(isLine(surface) ? [grid, band(surface, state.metric, plane, log, low)] : [grid]) };
  });
  const all = limits(views.filter(Boolean).map((view) => view.limits));
  return views.map((view) => view && (isShared() ? { ...view, limits: all } : view));
}

function buildPanel(surface, number) {
  const heading = make("h2", { id: `title-${number}` }, surface.title);
  const facts = make("p", { class: "provenance" }, surface.provenance.join(" · "));
  const kinds = isLine(surface) ? ["line"] : ["solid", "map"];
  const names = { line: "line", solid: "3D surface", map: "contour map" };
  const plots = kinds.map((kind) => make("div", {
    class: `plot ${kind}`, tabindex: "0", role: "application", "aria-roledescription": "plot",
    "aria-label": `${names[kind]} of ${surface.title}; arrow keys move the marker`, "aria-describedby": `readout-${number}`,
  }));
  const readout = make("p", { class: "readout", id: `readout-${number}` });
  const missing = make("p", { class: "missing", hidden: "" });
  const rows = surface.details.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]);
  const more = make("details", {}, make("summary", {}, "What these numbers are"), make("dl", {}, ...rows));
  const box = make("section", { class: "panel", "aria-labelledby": `title-${number}` },
    heading, facts, missing, make("div", { class: "plots" }, ...plots), readout, more);
  element("panels").append(box);
  return { surface, plots, readout, missing, kinds };
}

const DRAW = { solid, map, line };

async function draw() {
  const views = makeViews();
  const { label, log, common } = DATA.metrics[state.metric];
  element("height").disabled = !log;
  element("height").value = log ? state.height : "linear";
  element("scale").disabled = !common;
  element("note").textContent = [
    DATA.different.length ? `Not comparable as they stand: different ${DATA.different.join(", ")}.` : "",
    common || DATA.surfaces.length < 2 ? "" : `${label} is another loss for each model, so each has a scale of its own.`,
    log ? "" : `${label} has no logarithm: its height is linear.`,
  ].filter(Boolean).join(" ");
  await Promise.all(panels.map(async (panel, k) => {
    const view = views[k];
    panel.view = view;
    panel.missing.hidden = Boolean(view);
    panel.missing.textContent = view ? "" : `This file has no metric ${label}.`;
    panel.plots.forEach((plot) => { plot.hidden = !view; });
    if (view) await Promise.all(panel.plots.map((plot, p) => Plotly.react(plot, ...DRAW[panel.kinds[p]](view, plot), CONFIG)));
    if (view) follow(panel);
  }));
  read();
}

/** Under each panel, the marker's point in words; returns all of them as one text. */
function read() {
  return panels.map((panel) => {
    const { view } = panel;
    if (!view) return (panel.readout.textContent = "");
    const text = pointText(view.surface, view.metric, view.label, view.plane, ...view.marker);
    panel.readout.textContent = `${placeText(view.surface, ...view.marker)}: ${text}`;
    return panels.length > 1 ? `${view.surface.title}: ${text}` : text;
  }).filter(Boolean).join(". ");
}

let waiting = false;

/** Put the marker of every plot at `place`, a step along x and y, at most once a frame; `aloud` for screen readers. */
function moveTo(place, aloud) {
  state.place = place;
  if (aloud) state.aloud = true;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(async () => {
    waiting = false;
    const moved = [];
    for (const panel of panels) {
      if (!panel.view) continue;
      const marker = markerOf(panel.surface);
      if (String(marker) === String(panel.view.marker)) continue;
      panel.view.marker = marker;
      panel.plots.forEach((plot, p) => {
        const { x, y, z } = DRAW[panel.kinds[p]](panel.view)[0][1];
        moved.push(Plotly.restyle(plot, z ? { x: [x], y: [y], z: [z] } : { x: [x], y: [y] }, [1]));
      });
    }
    const text = read();
    if (state.aloud) element("live").textContent = `x ${stepText(state.place[0])}, y ${stepText(state.place[1])}. ${text}`;
    state.aloud = false;
    await Promise.all(moved);
  });
}

/** The minimum of the first surface, or of the one that has the focus. */
function toMinimum(panel = panels.find(({ view }) => view)) {
  const found = panel?.view && minimum(panel.view.grid);
  if (found) moveTo([panel.surface.x[found[1]], panel.surface.y[found[0]]], true);
}

function step(panel, dx, dy) {
  const [i, j] = markerOf(panel.surface);
  const along = (values, k) => values[Math.max(0, Math.min(values.length - 1, k))];
  const { x, y } = panel.surface;
  moveTo([along(x, j + (x.length > 1 ? dx : 0)), along(y, i + (y.length > 1 ? (x.length > 1 ? dy : dx + dy) : 0))], true);
}

/** Show all surfaces from the same side; `turned` is one that has been turned by mouse already. */
async function turn(camera, turned) {
  state.camera = camera;
  state.turning = true; // what follows reports cameras too, and must not be followed in its turn
  const others = panels.filter(({ plots, kinds, view }) => view && kinds[0] === "solid" && plots[0] !== turned);
  await Promise.all(others.map(({ plots }) => Plotly.relayout(plots[0], { "scene.camera": camera })));
  state.turning = false;
}

function turnBy(angle) {
  const { eye } = state.camera;
  const [sine, cosine] = [Math.sin(angle), Math.cos(angle)];
  turn({ ...state.camera, eye: { x: eye.x * cosine - eye.y * sine, y: eye.x * sine + eye.y * cosine, z: eye.z } });
}

const KEYS = {
  ArrowLeft: (panel, far) => step(panel, -far, 0),
  ArrowRight: (panel, far) => step(panel, far, 0),
  ArrowUp: (panel, far) => step(panel, 0, far),
  ArrowDown: (panel, far) => step(panel, 0, -far),
  Home: () => moveTo([0, 0], true),
  End: (panel) => toMinimum(panel),
  "[": () => turnBy(-Math.PI / 12),
  "]": () => turnBy(Math.PI / 12),
};

function listen(panel) {
  panel.plots.forEach((plot, p) => {
    plot.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey || !panel.view) return;
      event.preventDefault();
      KEYS[event.key](panel, event.shiftKey ? 5 : 1);
    });
  });
}

/** Follow what is done in a plot, once it is drawn. */
function follow(panel) {
  panel.plots.forEach((plot, p) => {
    if (plot.followed) return;
    plot.followed = true;
    plot.on("plotly_hover", ({ points: [point] }) => {
      if (panel.kinds[p] !== "line") return moveTo([point.x, point.y], false);
      const along = panel.surface.y.length === 1;
      return moveTo(along ? [point.x, state.place[1]] : [state.place[0], point.x], false);
    });
    plot.on("plotly_relayout", (change) => {
      const camera = change["scene.camera"];
      if (camera && !state.turning) turn(camera, plot);
    });
  });
}

function buildControls() {
  const options = (id, entries) => element(id).replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  const planes = Math.max(...DATA.surfaces.map((surface) => surface.done.length));
  options("metric", Object.entries(DATA.metrics).map(([name, { label }]) => [name, label]));
  options("plane", Array.from({ length: planes }, (_, k) => [k, `${k + 1} of ${planes}`]));
  const solids = DATA.surfaces.some((surface) => !isLine(surface));
  element("plane").parentElement.hidden = planes < 2;
  element("scale").parentElement.hidden = DATA.surfaces.length < 2;
  element("turn-left").parentElement.hidden = !solids;
  for (const id of ["metric", "height", "scale", "plane"]) {
    element(id).value = state[id];
    element(id).addEventListener("change", ({ target }) => {
      state[id] = id === "plane" ? Number(target.value) : target.value;
      draw();
    });
  }
  const press = { "to-model": () => moveTo([0, 0], true), "to-minimum": () => toMinimum(), "turn-left": () => turnBy(-Math.PI / 12),
    "turn-right": () => turnBy(Math.PI / 12), "from-above": () => turn(ABOVE_CAMERA), "start-view": () => turn(START_CAMERA) };
  for (const [id, action] of Object.entries(press)) element(id).addEventListener("click", action);
}

function buildLegend() {
  const signs = [
    ["marker", `<circle cx="8" cy="8" r="5" fill="${MARKER}" stroke="#fff" stroke-width="1.5"/>`],
    ["minimum", '<path d="M8 2l6 6-6 6-6-6z" fill="#fff" stroke="#000" stroke-width="1.5"/>'],
    ["model", '<path d="M8 2v12M2 8h12" stroke="#000" stroke-width="2.5"/>'],
  ];
  if (DATA.surfaces.some((surface) => !isLine(surface) && Object.keys(surface.paths).length))
    signs.push(["trajectory, other models", '<path d="M1 13L8 6l7-2" fill="none" stroke="#000" stroke-width="2"/>']);
  if (DATA.surfaces.some((surface) => !isLine(surface)))
    signs.push(["hole: not computed, or diverged", '<path d="M1 1h14v14H1z" fill="#d9d9d9" stroke="#8c959f"/>']);
  if (DATA.surfaces.some(isLine))
    signs.push(["95% interval (1.96 standard errors)", `<path d="M1 4h14v8H1z" fill="${DATA.colors[0]}" opacity="0.3"/>`]);
  for (const [text, drawing] of signs) {
    const item = make("li", {}, text);
    item.insertAdjacentHTML("afterbegin", `<svg viewBox="0 0 16 16" aria-hidden="true">${drawing}</svg>`);
    element("legend").append(item);
  }
}

async function start() {
  try {
    await loadPlotly();
  } catch (error) {
    element("note").textContent = `This browser cannot unpack the plots: ${error.message}. Use one of 2023 or later.`;
    return;
  }
  buildControls();
  buildLegend();
  panels.push(...DATA.surfaces.map(buildPanel));
  await draw();
  panels.forEach(listen);
  let settled;
  let width = innerWidth;
  addEventListener("resize", () => { // margins of the maps depend on their size; heights of phones' windows vary as they scroll
    clearTimeout(settled);
    settled = setTimeout(() => {
      if (innerWidth !== width) draw();
      width = innerWidth;
    }, 150);
  });
  document.body.dataset.ready = "yes";
}

start();
