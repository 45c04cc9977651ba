// A surface, its contour map or its line as plotly traces and layouts. `view` holds what is drawn of it:
// {surface, metric, axis, label, plane, log, limits, grid (heights), marker [row, column], camera, narrow}.

const MARKER = "#d55e00";
const START_CAMERA = { eye: { x: -1.0, y: -1.38, z: 0.88 }, center: { x: 0, y: 0, z: -0.12 }, up: { x: 0, y: 0, z: 1 } };
const ABOVE_CAMERA = { eye: { x: 0, y: -0.01, z: 2.1 }, center: { x: 0, y: 0, z: 0 }, up: { x: 0, y: 0, z: 1 } };
const FONT = { family: "system-ui, sans-serif", size: 13, color: "#1b1f24" };

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

const lifted = (z, [low, high]) => z + 0.04 * (high - low); // signs stand on the surface, not half in it

function solidPoint(view, place, marker) {
  const { surface, grid, limits } = view;
  const seen = place && grid[place[0]][place[1]] !== null;
  return {
    type: "scatter3d", mode: "markers", hoverinfo: "skip", showlegend: false, marker,
    x: seen ? [surface.x[place[1]]] : [], y: seen ? [surface.y[place[0]]] : [], z: seen ? [lifted(grid[place[0]][place[1]], limits)] : [],
  };
}

/** Trajectories and other models, which are on the first plane, as traces; `place` gives their coordinates. */
function pathTraces(view, place, marker, width) {
  return Object.entries(view.plane === 0 ? view.surface.paths : {}).map(([name, path]) => ({
    mode: "lines+markers", showlegend: false, connectgaps: false, hoverinfo: "text", hovertext: pathTexts(name, path),
    line: { color: "#000", width }, marker: { ...marker, color: "#fff", line: { color: "#000", width: 1 } }, ...place(path.points),
  }));
}

function pathTexts(name, { points, updates, distance }) {
  return points.map((_, k) => [
    points.length > 1 ? `${name}, model ${k + 1} of ${points.length}` : name,
    isNumber(updates[k]) ? `after ${updates[k]} updates` : "",
    isNumber(distance[k]) ? `${valueText(distance[k])} from the plane, in units of the weights` : "",
  ].filter(Boolean).join("<br>"));
}

function solidPaths(view) {
  const height = ([x, y]) => {
    const z = heightAt(view.surface, view.grid, x, y);
    return z === null ? null : lifted(z, view.limits);
  };
  const place = (points) => ({ type: "scatter3d", x: points.map((p) => p[0]), y: points.map((p) => p[1]), z: points.map(height) });
  return pathTraces(view, place, { size: 3 }, 5);
}

const flatPaths = (view) => pathTraces(
  view, (points) => ({ type: "scatter", x: points.map((p) => p[0]), y: points.map((p) => p[1]) }), { size: 5 }, 2);

/** Points that no complete cell of the grid joins, as dots: else a surface that has just begun would show nothing. */
function loosePoints({ surface, grid, limits: [cmin, cmax] }, type) {
  const known = (i, j) => grid[i]?.[j] !== undefined && grid[i][j] !== null;
  const cell = (i, j) => known(i, j) && known(i + 1, j) && known(i, j + 1) && known(i + 1, j + 1);
  const loose = grid.flatMap((row, i) => row.map((_, j) => [i, j]))
    .filter(([i, j]) => known(i, j) && !(cell(i, j) || cell(i - 1, j) || cell(i, j - 1) || cell(i - 1, j - 1)));
  const values = loose.map(([i, j]) => grid[i][j]);
  return {
    type, mode: "markers", hoverinfo: "skip", showlegend: false, x: loose.map(([, j]) => surface.x[j]), y: loose.map(([i]) => surface.y[i]),
    ...(type === "scatter3d" && { z: values }), marker: { size: type === "scatter3d" ? 3 : 5, color: values, cmin, cmax, colorscale: DATA.colorscale },
  };
}

/** The 3D plot: the marker is its second trace. */
function solid(view) {
  const { surface, grid, limits: [low, high] } = view;
  const found = marks(view);
  const levels = { show: true, start: low, end: high, size: (high - low) / (LEVELS - 1), color: "rgba(255,255,255,0.45)", width: 1 };
  const data = [
    {
      type: "surface", x: surface.x, y: surface.y, z: grid, cmin: low, cmax: high, colorscale: DATA.colorscale, showscale: false,
      hovertext: hoverTexts(view), hoverinfo: "text", connectgaps: false,
      contours: { z: levels, x: { highlight: false }, y: { highlight: false } },
      lighting: { ambient: 0.75, diffuse: 0.5, specular: 0.05, roughness: 0.9 },
    },
    solidPoint(view, found.marker, { size: 7, color: MARKER, line: { color: "#fff", width: 2 } }),
    solidPoint(view, found.minimum, { size: 6, symbol: "diamond", color: "#fff", line: { color: "#000", width: 2 } }),
    solidPoint(view, found.model, { size: 5, symbol: "cross", color: "#000" }),
    ...solidPaths(view), loosePoints(view, "scatter3d"),
  ];
  const side = { showspikes: false, gridcolor: "#d0d7de", zeroline: false, tickfont: { size: 11 }, nticks: 5, backgroundcolor: "#f6f8fa", showbackground: true };
  const layout = {
    font: FONT, margin: { l: 0, r: 0, t: 0, b: 0 }, hoverlabel: { align: "left" },
    scene: {
      xaxis: { ...side, title: { text: "x" } }, yaxis: { ...side, title: { text: "y" } },
      zaxis: { ...side, ...axisTicks(view), title: { text: "" }, range: [low - 0.02 * (high - low), lifted(lifted(high, view.limits), view.limits)] },
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

/** The contour map: the marker is its second trace. */
function map(view, plot) {
  const { surface, grid, limits: [low, high] } = view;
  const [width, tall] = [surface.x, surface.y].map((values) => values[values.length - 1] - values[0]);
  const equal = Math.max(width / tall, tall / width) < 3;
  const margin = { l: 64, r: 8, t: 8, b: 48 };
  const spare = plot ? plot.clientWidth - margin.l - margin.r - 90 - (plot.clientHeight - margin.t - margin.b) * (width / tall) : 0;
  if (equal && spare > 0) { // a map with its colour bar beside it, in the middle, not one at each end of a wide plot
    margin.l += spare / 2;
    margin.r += spare / 2 + 90;
  }
  const data = [
    {
      type: "contour", x: surface.x, y: surface.y, z: grid, zmin: low, zmax: high, zauto: false, colorscale: DATA.colorscale,
      autocontour: false, contours: { start: low, end: high, size: (high - low) / (LEVELS - 1) },
      line: { color: "rgba(255,255,255,0.6)", width: 0.6 }, connectgaps: false,
      hovertext: hoverTexts(view), hoverinfo: "text", hoverongaps: true,
      colorbar: { title: { text: view.axis, side: "right" }, thickness: 12, outlinewidth: 0, tickfont: { size: 12 }, ...axisTicks(view) },
    },
    ...flatMarks(view), ...flatPaths(view), loosePoints(view, "scatter"),
  ];
  const axis = { showgrid: false, zeroline: false, ticks: "outside", constrain: "domain", nticks: 6 };
  const layout = {
    font: FONT, margin, plot_bgcolor: "#d9d9d9", hoverlabel: { align: "left" }, dragmode: view.narrow ? false : "zoom",
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
    ...bandTraces(steps, values, lower, upper, trace),
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

/** One filled outline for each unbroken run: a band bridges interpolated points, which have no standard error, but no hole. */
function bandTraces(steps, values, lower, upper, trace) {
  const runs = [[]];
  steps.forEach((_, k) => {
    if (values[k] === null) runs.push([]);
    else if (lower[k] !== null && upper[k] !== null) runs.at(-1).push(k);
  });
  return runs.filter((run) => run.length).map((run) => {
    const back = [...run].reverse();
    return trace([...run.map((k) => upper[k]), ...back.map((k) => lower[k])], {
      x: [...run, ...back].map((k) => steps[k]), fill: "toself", fillcolor: "rgba(0,114,178,0.2)", line: { width: 0 }, mode: "lines",
    });
  });
}
