// A surface, its contour map or its line as plotly traces and layouts. `view` holds what is drawn of it:
// {surface, metric, axis, label, plane, log, limits, grid (heights), marker [row, column], camera, narrow}.

const MARKER = "#d55e00";
const START_CAMERA = { eye: { x: -1.1, y: -1.5, z: 0.95 }, center: { x: 0, y: 0, z: -0.12 }, up: { x: 0, y: 0, z: 1 } };
const ABOVE_CAMERA = { eye: { x: 0, y: -0.01, z: 2.1 }, center: { x: 0, y: 0, z: 0 }, up: { x: 0, y: 0, z: 1 } };
const FONT = { family: "system-ui, sans-serif", size: 13, color: "#1b1f24" };

const holeFree = (points) => points.filter((point) => point.every((value) => value !== null));

function colors(view) {
  return { colorscale: DATA.colorscale, showscale: false };
}

function hoverTexts(view) {
  const { surface, metric, label, plane } = view;
  return view.grid.map((row, i) => row.map((_, j) =>
    `${placeText(surface, i, j)}<br>${pointText(surface, metric, label, plane, i, j).replace(", ", "<br>")}`));
}

function axisTicks(view) {
  const tickvals = ticksOf(view.limits, view.log);
  return { tickmode: "array", tickvals, ticktext: tickvals.map((tick) => tickText(tick, view.log)) };
}

/** Marked points of a view: [row, column] of marker, minimum and model, null for what is not there. */
function marks(view) {
  const at = (values) => values.indexOf(0);
  const model = [at(view.surface.y), at(view.surface.x)];
  return { marker: view.marker, minimum: minimum(view.grid), model: model.includes(-1) ? null : model };
}

function solidPoint(view, place, marker) {
  const { surface, grid } = view;
  const seen = place && grid[place[0]][place[1]] !== null;
  return {
    type: "scatter3d", mode: "markers", hoverinfo: "skip", showlegend: false, marker,
    x: seen ? [surface.x[place[1]]] : [], y: seen ? [surface.y[place[0]]] : [], z: seen ? [grid[place[0]][place[1]]] : [],
  };
}

function solidPath(view) {
  const { surface, grid, limits } = view;
  if (!surface.trajectory) return [];
  const lift = 0.01 * (limits[1] - limits[0]);
  const points = surface.trajectory.points.map(([x, y]) => {
    const z = heightAt(surface, grid, x, y);
    return [x, y, z === null ? null : z + lift];
  });
  return [{
    type: "scatter3d", mode: "lines+markers", hoverinfo: "skip", showlegend: false, connectgaps: false,
    x: points.map((p) => p[0]), y: points.map((p) => p[1]), z: points.map((p) => p[2]),
    line: { color: "#000", width: 5 }, marker: { size: 3, color: "#fff", line: { color: "#000", width: 1 } },
  }];
}

/** The 3D plot: the marker is its second trace. */
function solid(view) {
  const { surface, grid, limits: [low, high] } = view;
  const found = marks(view);
  const levels = { show: true, start: low, end: high, size: (high - low) / (LEVELS - 1), color: "rgba(255,255,255,0.45)", width: 1 };
  const data = [
    {
      type: "surface", x: surface.x, y: surface.y, z: grid, cmin: low, cmax: high, ...colors(view),
      hovertext: hoverTexts(view), hoverinfo: "text", connectgaps: false,
      contours: { z: levels, x: { highlight: false }, y: { highlight: false } },
      lighting: { ambient: 0.75, diffuse: 0.5, specular: 0.05, roughness: 0.9 },
    },
    solidPoint(view, found.marker, { size: 7, color: MARKER, line: { color: "#fff", width: 2 } }),
    solidPoint(view, found.minimum, { size: 6, symbol: "diamond", color: "#fff", line: { color: "#000", width: 2 } }),
    solidPoint(view, found.model, { size: 5, symbol: "cross", color: "#000" }),
    ...solidPath(view),
  ];
  const side = { showspikes: false, gridcolor: "#d0d7de", zeroline: false, tickfont: { size: 11 }, nticks: 5, backgroundcolor: "#f6f8fa", showbackground: true };
  const layout = {
    font: FONT, margin: { l: 0, r: 0, t: 0, b: 0 }, hoverlabel: { align: "left" },
    scene: {
      xaxis: { ...side, title: { text: "x" } }, yaxis: { ...side, title: { text: "y" } },
      zaxis: { ...side, ...axisTicks(view), title: { text: "" }, range: padded(view.limits, 0.02) },
      aspectmode: "manual", aspectratio: { x: 1, y: 1, z: 0.65 }, camera: view.camera,
    },
  };
  return [data, layout];
}

const padded = ([low, high], share) => [low - share * (high - low), high + share * (high - low)];

function flatPoint(view, place, marker) {
  const { surface, grid } = view;
  const line = isLine(view.surface);
  const [xs, ys] = !place ? [[], []] : !line ? [[surface.x[place[1]]], [surface.y[place[0]]]]
    : [[lineSteps(surface)[lineIndex(surface, place)]], [grid[place[0]][place[1]]]];
  return { type: "scatter", mode: "markers", x: xs, y: ys, hoverinfo: "skip", showlegend: false, marker, cliponaxis: false };
}

function flatMarks(view) {
  const found = marks(view);
  return [
    flatPoint(view, found.marker, { size: 13, color: MARKER, line: { color: "#fff", width: 2 } }),
    flatPoint(view, found.minimum, { size: 11, symbol: "diamond", color: "#fff", line: { color: "#000", width: 1.5 } }),
    flatPoint(view, found.model, { size: 10, symbol: "cross-thin", line: { color: isLine(view.surface) ? "#000" : "#fff", width: 2.5 } }),
  ];
}

function flatPath(view) {
  const path = view.surface.trajectory;
  if (!path) return [];
  const told = path.points.map((_, k) => (path.updates ? `after ${path.updates[k]} updates` : `checkpoint ${k + 1}`));
  return [{
    type: "scatter", mode: "lines+markers", x: path.points.map((p) => p[0]), y: path.points.map((p) => p[1]),
    text: told, hoverinfo: "text", showlegend: false, line: { color: "#000", width: 2 },
    marker: { size: 5, color: "#fff", line: { color: "#000", width: 1 } },
  }];
}

/** The contour map: the marker is its second trace. */
function map(view) {
  const { surface, grid, limits: [low, high] } = view;
  const [width, tall] = [surface.x, surface.y].map((values) => values[values.length - 1] - values[0]);
  const equal = Math.max(width / tall, tall / width) < 3;
  const data = [
    {
      type: "contour", x: surface.x, y: surface.y, z: grid, zmin: low, zmax: high, zauto: false, ...colors(view), showscale: true,
      autocontour: false, contours: { start: low, end: high, size: (high - low) / (LEVELS - 1) },
      line: { color: "rgba(255,255,255,0.6)", width: 0.6 }, connectgaps: false,
      hovertext: hoverTexts(view), hoverinfo: "text", hoverongaps: true,
      colorbar: { title: { text: view.axis, side: "right" }, thickness: 12, outlinewidth: 0, tickfont: { size: 12 }, ...axisTicks(view) },
    },
    ...flatMarks(view), ...flatPath(view),
  ];
  const axis = { showgrid: false, zeroline: false, ticks: "outside", constrain: "domain", nticks: 6 };
  const layout = {
    font: FONT, margin: { l: 52, r: 8, t: 8, b: 44 }, plot_bgcolor: "#d9d9d9", hoverlabel: { align: "left" }, dragmode: view.narrow ? false : "zoom",
    xaxis: { ...axis, title: { text: "x (step / filter norm)", standoff: 4 }, range: [surface.x[0], surface.x[surface.x.length - 1]] },
    yaxis: { ...axis, title: { text: "y (step / filter norm)", standoff: 4 }, range: [surface.y[0], surface.y[surface.y.length - 1]], ...(equal && { scaleanchor: "x" }) },
  };
  return [data, layout];
}

const lineSteps = (surface) => (surface.y.length === 1 ? surface.x : surface.y);
const lineIndex = (surface, [i, j]) => (surface.y.length === 1 ? j : i);

/** A line with its 95% band: the marker is its second trace. */
function line(view) {
  const { surface, metric, plane, log, limits: [low] } = view;
  const steps = lineSteps(surface);
  const values = view.grid.flat();
  const [lower, upper] = band(surface, metric, plane, log, low);
  const blue = DATA.colors[0];
  const trace = (y, more) => ({ type: "scatter", mode: "lines", x: steps, y, hoverinfo: "skip", showlegend: false, connectgaps: false, ...more });
  const evaluated = surface.evaluated[plane].flat();
  const data = [
    trace(values, {
      mode: "lines+markers", line: { color: blue, width: 2 }, hovertext: hoverTexts(view).flat(), hoverinfo: "text",
      marker: { size: 6, color: evaluated.map((yes) => (yes ? blue : "#fff")), line: { color: blue, width: 1.5 } },
    }),
    ...flatMarks(view),
    ...bandTraces(steps, lower, upper, trace),
  ];
  const name = surface.y.length === 1 ? "x" : "y";
  const axis = { zeroline: false, gridcolor: "#e5e8eb", ticks: "outside" };
  const layout = {
    font: FONT, margin: { l: 64, r: 12, t: 12, b: 44 }, hoverlabel: { align: "left" }, hovermode: "closest", dragmode: view.narrow ? false : "zoom",
    xaxis: { ...axis, title: { text: `${name} (step / filter norm)`, standoff: 4 } },
    yaxis: { ...axis, ...axisTicks(view), title: { text: view.axis, standoff: 6 }, range: padded(view.limits, 0.05) },
  };
  return [data, layout];
}

/** One filled outline for each unbroken run of points with a standard error, so that no band bridges a hole. */
function bandTraces(steps, lower, upper, trace) {
  const runs = [];
  steps.forEach((_, k) => {
    if (lower[k] === null || upper[k] === null) return;
    if (k > 0 && runs.length && runs[runs.length - 1].at(-1) === k - 1) runs[runs.length - 1].push(k);
    else runs.push([k]);
  });
  return runs.map((run) => {
    const back = [...run].reverse();
    return trace([...run.map((k) => upper[k]), ...back.map((k) => lower[k])], {
      x: [...run, ...back].map((k) => steps[k]), fill: "toself", fillcolor: "rgba(0,114,178,0.2)", line: { width: 0 }, mode: "lines",
    });
  });
}
