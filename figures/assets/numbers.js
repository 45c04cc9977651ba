// From the grids' numbers to heights, limits, ticks and words; nothing here touches the page.

const Z95 = 1.959964;
const LEVELS = 15;

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** A value as a height: log10 if `log`; null, so a hole, where it is not finite or has no logarithm. */
function height(value, log) {
  if (!isNumber(value) || (log && value <= 0)) return null;
  return log ? Math.log10(value) : value;
}

/** Heights (ny, nx) of a metric on a plane; null where a value is not final, has diverged, or has no logarithm. */
function heights(surface, metric, plane, log) {
  const done = surface.done[plane];
  return surface.values[metric][plane].map((row, i) => row.map((v, j) => (done[i][j] ? height(v, log) : null)));
}

const isLine = (surface) => surface.y.length === 1 || surface.x.length === 1;

/** Lower and upper end of the 95% interval of a line's points as heights; null where there is no standard error. */
function band(surface, metric, plane, log, floor) {
  const errors = surface.stderr[metric][plane].flat();
  const values = surface.values[metric][plane].flat();
  const done = surface.done[plane].flat();
  const end = (sign) => values.map((value, k) => {
    if (!done[k] || !isNumber(value) || !isNumber(errors[k])) return null;
    const moved = value + sign * Z95 * errors[k];
    return log && moved <= 0 ? floor : height(moved, log);
  });
  return [end(-1), end(1)];
}

const CONSTANT = 1e-12; // relative range below which numbers are one up to rounding

/** Lowest and highest of all numbers in nested arrays, a constant in the middle; [0, 1] if there is none. */
function limits(panels) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of panels.flat(Infinity)) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  const reach = Math.max(Math.abs(low), Math.abs(high));
  if (high / 2 - low / 2 > (CONSTANT / 2) * reach) return [low, high];
  const half = Math.max(0.5, reach / 20);
  return [Math.max(low - half, -Number.MAX_VALUE), Math.min(high + half, Number.MAX_VALUE)];
}

function roundSteps(low, high, count) {
  const rough = high / count - low / count; // high - low may be no number
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const ticks = [];
  for (let k = 0; k <= 2 * count && (first + k) * step <= high + 1e-9 * step; k++) ticks.push((first + k) * step); // of finite length in any case
  return ticks;
}

/** Heights to label: of round values, of 1, 2 and 5 times powers of ten if `log` and the range is wide enough. */
function ticksOf([low, high], log) {
  if (!log) return roundSteps(low, high, 6);
  const inside = (factors) => {
    const ticks = [];
    for (let power = Math.floor(low) - 1; power <= Math.ceil(high); power++)
      for (const factor of factors) {
        const tick = power + Math.log10(factor);
        if (tick >= low && tick <= high) ticks.push(tick);
      }
    return ticks;
  };
  for (const factors of [[1, 2, 5], [1], []]) {
    const ticks = inside(factors);
    if (ticks.length >= 3 && ticks.length <= 9) return ticks;
  }
  if (high - low > 3) return roundSteps(low, high, 6).filter(Number.isInteger);
  return roundSteps(10 ** low, 10 ** high, 6).filter((v) => v > 0).map(Math.log10).filter((t) => t >= low && t <= high);
}

const valueText = (value) => String(Number(value.toPrecision(4)));
const tickText = (tick, log) => valueText(log ? 10 ** tick : tick);
const stepText = (step) => String(Number(step.toPrecision(4))).replace("-", "−");

function nearest(values, wanted) {
  let best = 0;
  for (let k = 1; k < values.length; k++)
    if (Math.abs(values[k] - wanted) < Math.abs(values[best] - wanted)) best = k;
  return best;
}

/** Row and column of the lowest height; null if there is none. */
function minimum(grid) {
  let best = null;
  grid.forEach((row, i) => row.forEach((value, j) => {
    if (value !== null && (best === null || value < grid[best[0]][best[1]])) best = [i, j];
  }));
  return best;
}

/** Bilinear height at (x, y) between grid points; null outside the grid and beside holes. */
function heightAt(surface, grid, x, y) {
  const cell = (values, wanted) => {
    if (wanted < values[0] || wanted > values[values.length - 1]) return null;
    const k = Math.max(0, Math.min(values.length - 2, values.findLastIndex((value) => value <= wanted)));
    return [k, (wanted - values[k]) / (values[k + 1] - values[k])];
  };
  const [column, row] = [cell(surface.x, x), cell(surface.y, y)];
  if (!column || !row) return null;
  const [[j, s], [i, t]] = [column, row];
  const corners = [grid[i][j], grid[i][j + 1], grid[i + 1][j], grid[i + 1][j + 1]];
  if (corners.includes(null)) return null;
  return (1 - t) * ((1 - s) * corners[0] + s * corners[1]) + t * ((1 - s) * corners[2] + s * corners[3]);
}

/** What is known of a point: value with standard error, and how it came by it. */
function pointText(surface, metric, label, plane, i, j) {
  const value = surface.values[metric][plane][i][j];
  const error = surface.stderr[metric][plane][i][j];
  if (!surface.done[plane][i][j]) return `${label}: not computed yet`;
  if (!isNumber(value)) return `${label}: diverged (${value ?? "not a number"})`;
  const spread = isNumber(error) ? ` ± ${valueText(Number(error.toPrecision(2)))} (standard error)` : "";
  const how = surface.evaluated[plane][i][j] ? "evaluated" : "interpolated";
  return `${label} ${valueText(value)}${spread}, ${how}`;
}

const placeText = (surface, i, j) => `x ${stepText(surface.x[j])}, y ${stepText(surface.y[i])}`;
