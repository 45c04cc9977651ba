"""`python -m figures.viewer`: surfaces to look at in a browser, in one HTML page that needs no network."""

import base64
import gzip
import html
import importlib.util
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import tyro
from matplotlib.colors import to_hex

from figures.parts.captions import config_of, data_text, differences, metric_text, score_text
from figures.parts.style import COLORS, LABELS, MAP, label
from landscape.files.grid import Floats, Grid, read_grid
from training.runtime.command import InputError, command, make_parent, parse, write_whole

DESCRIPTION = """Write one HTML page of surfaces to turn and read in a browser: no network, no server.

Example: python -m figures.viewer runs/a/surface.h5 runs/b/surface.h5 --out view.html

Each model has its 3D surface and a contour map with one marker, or a line with its error band. Switches: metric,
log or linear, one scale for all or one each, plane. It needs plotly: pip install 'lamp-landscape[viewer]'."""

MOST_SURFACES = 8  # browsers keep about 16 WebGL contexts, and a 3D plot takes up to two
SCRIPTS = ("numbers.js", "plots.js", "page.js")
SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class Arguments:
    surfaces: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or more grid files, finished or still computed; lines (ny = 1) too."""
    out: Path
    """The page: .html."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.viewer", DESCRIPTION)
    check_surfaces(arguments.surfaces)
    check_page(arguments.out)
    make_parent(arguments.out, "a page of surfaces")
    script = plotly_script()
    grids = [(str(path), read_grid(path)) for path in arguments.surfaces]
    write_whole(arguments.out, page(grids, script))
    print(arguments.out)


def check_surfaces(paths: Sequence[Path]) -> None:
    """Raise InputError unless there are one to MOST_SURFACES files."""
    if not 1 <= len(paths) <= MOST_SURFACES:
        raise InputError(f"surfaces: expected 1 to {MOST_SURFACES} grid files, found {len(paths)}; make several pages")


def check_page(path: Path) -> None:
    """Raise InputError unless `path` is named as a page."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}, found {path.suffix!r}")


def plotly_script() -> bytes:
    """The JavaScript of the installed plotly package, found without importing it; InputError if it is missing."""
    found = importlib.util.find_spec("plotly")
    folders = found.submodule_search_locations if found else None
    path = Path(next(iter(folders))) / "package_data" / "plotly.min.js" if folders else None
    if path is None or not path.is_file():
        raise InputError("plotly: expected the package plotly, found none; pip install 'lamp-landscape[viewer]'")
    return path.read_bytes()


def page(grids: Sequence[tuple[str, Grid]], script: bytes) -> str:
    """The page of `grids` with their sources, `script` (plotly) packed into it; same input, same page."""
    title = "Loss landscape: " + ", ".join(title_of(grid, source) for source, grid in grids)
    parts = {
        "title": html.escape(title),
        "style": asset("page.css"),
        "data": embedded(page_data(grids)),
        "plotly": base64.b64encode(gzip.compress(script, 9, mtime=0)).decode(),
        "script": "\n".join(asset(name) for name in SCRIPTS),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], asset("page.html"))  # once: data may hold braces


def asset(name: str) -> str:
    return (files("figures") / "assets" / name).read_text(encoding="utf-8")


def embedded(value: Any) -> str:
    """`value` as strict JSON that can stand in an HTML script element, whatever text it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def page_data(grids: Sequence[tuple[str, Grid]]) -> dict[str, Any]:
    """What the page draws: the grids' numbers exactly, and the texts, colours and warnings beside them."""
    alone = [grid for _, grid in grids]
    return {
        "surfaces": [surface_data(source, grid) for source, grid in grids],
        "metrics": {
            name: metric_data([grid for grid in alone if name in grid.values], name) for name in metric_names(alone)
        },
        "different": differences(alone),
        "colorscale": [[k / 32, to_hex(mpl.colormaps[MAP](k / 32))] for k in range(33)],
        "colors": COLORS,
    }


def metric_names(grids: Sequence[Grid]) -> list[str]:
    """Every metric of the files, in the order of the labels of :mod:`figures.parts.style`, others last."""
    order = list(LABELS)
    names = dict.fromkeys(name for grid in grids for name in grid.values)
    return sorted(
        names, key=lambda name: order.index(base) if (base := name.partition("@")[0]) in order else len(order)
    )


def metric_data(grids: Sequence[Grid], name: str) -> dict[str, Any]:
    """A metric over the files that have it: its labels, whether it has a logarithm, and a unit common to all."""
    definitions = [grid.meta["metrics"][name] for grid in grids]
    return {
        "label": label(name),
        "axis": metric_text(grids, name),
        "log": all(definition["transform"] == "log" for definition in definitions) and not has_negative(grids, name),
        "common": len({definition.get("definition") for definition in definitions}) == 1,
    }


def has_negative(grids: Sequence[Grid], name: str) -> bool:
    """Whether a value of a metric is below 0, so that a logarithm would leave holes."""
    return any(bool((grid.values[name][grid.done] < 0).any()) for grid in grids)


def surface_data(source: str, grid: Grid) -> dict[str, Any]:
    """A grid as plain values: arrays (K, ny, nx) as nested lists, masks as 0 and 1, paths as (n, 2) points."""
    return {
        "source": source,
        "title": title_of(grid, source),
        "provenance": provenance(grid),
        "details": details(grid, source),
        "x": grid.x.values.tolist(),
        "y": grid.y.values.tolist(),
        "values": {name: plain(values) for name, values in grid.values.items()},
        "stderr": {name: plain(values) for name, values in grid.stderr.items()},
        "done": grid.done.astype(int).tolist(),
        "evaluated": grid.evaluated.astype(int).tolist(),
        "paths": paths_of(grid),
    }


def plain(values: Floats) -> Any:
    """Nested lists of numbers, None for NaN and "inf" or "-inf" for infinities, which strict JSON has no number for."""
    flat: list[Any] = values.ravel().tolist()
    numbers = [v if math.isfinite(v) else None if math.isnan(v) else str(v) for v in flat]
    for length in reversed(values.shape[1:]):
        numbers = [numbers[start : start + length] for start in range(0, len(numbers), length)]
    return numbers


def paths_of(grid: Grid) -> dict[str, Any]:
    """Trajectories and other models on the plane, {name: {points (n, 2), distance (n), updates (n)}}, if any."""
    return {
        name: {"points": plain(track.coordinates), "distance": plain(track.distance), "updates": plain(track.updates)}
        for name, track in getattr(grid, "paths", {}).items()
    }


def title_of(grid: Grid, source: str) -> str:
    """The model in a few words: the loss it was trained with, its name, or else the file."""
    config = config_of(grid)
    return f"Trained with {label(config['loss'])}" if "loss" in config else str(grid.meta.get("name") or source)


def provenance(grid: Grid) -> list[str]:
    """What stands under a model's title: batch size, epochs, data, AUROC with its interval; how far the file is."""
    config = config_of(grid)
    texts = [f"{name.replace('_', ' ')} {config[name]}" for name in ("batch_size", "epochs", "seed") if name in config]
    texts += [text for text in (data_text(grid), score_text(grid)) if text]
    return texts if grid.done.all() else [*texts, f"unfinished: {grid.done.mean():.0%} of the points"]


def details(grid: Grid, source: str) -> list[list[str]]:
    """Name and text of what the numbers are and where they came from, for who wants to know more."""
    identity = grid.meta.get("identity", {})
    texts = {label(name): grid.meta["metrics"][name].get("definition", "") for name in grid.values}
    for name in grid.values:
        if math.isfinite(error := grid.interpolation_error.get(name, math.nan)):
            limit = grid.interpolation_limit.get(name, math.nan)
            everywhere = f", everywhere below {limit:.2g} with 95% confidence" if math.isfinite(limit) else ""
            texts[label(name)] += f"; error of interpolation {error:.2g} of the range at held-out points{everywhere}"
    names = ("normalization", "ignore", "orthogonal", "seed", "batch_norm", "precision", "dtype", "adaptive", "samples")
    texts |= {name.replace("_", " "): _text(identity[name]) for name in names if name in identity}
    texts |= {"weights": str(identity.get("weights", "")), "file": source}
    return [[name, text] for name, text in texts.items() if text]


def _text(value: Any) -> str:
    return ", ".join(f"{name}: {count}" for name, count in value.items()) if isinstance(value, dict) else str(value)


if __name__ == "__main__":
    raise SystemExit(command(main)())
