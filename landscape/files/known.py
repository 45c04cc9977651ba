"""The JSON and CSV results of this project, told apart by their keys and columns: plain values."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.runtime.command import InputError

About = dict[str, Any]

#: the first columns of a table, and after an ellipsis others that it has anywhere -> what it is
TABLES: dict[tuple[Any, ...], str] = {
    ("run", "dataset", "task", ..., "auroc", "images"): "sharpness of many models, a row a model (analysis.sharpness)",
    ("measure", "statistic", "value"): "sharpness against AUROC, a row a measure and statistic (analysis.relate)",
    ("measure", "pairs", "digits"): "two groups of models compared, a row a measure (analysis.compare)",
    ("id", "label", "score"): "anomaly scores of a run, a row a test image (training.train)",
    ("id", "digit", "predicted"): "predictions of a classifier, a row a test image (training.train)",
    ("epoch", "updates", "loss"): "history of a run, a row an evaluation (training.train)",
    ("run", "dataset", "task"): "results of a sweep, a row a run (training.sweep)",
    ("run", "epoch", "updates"): "history of a sweep, a row an evaluation (training.sweep)",
    ("task", "batch_size", "base"): "LAMP against base, a row a pair of runs (analysis.pairs)",
    ("batch_size", "base", "optimizer", "what"): "averages over pairs of runs (analysis.pairs)",
    ("optimizer", "loss", "lamp_scale"): "an ablation, a row a specification (analysis.specification)",
    ("plane", "y", "x", "metric", "value"): "a surface, a row a point and metric (landscape.convert --to csv)",
    ("dimension", "birth", "death"): "basins and hills of a surface (analysis.topology)",
}


def about_text(path: Path) -> About:
    """What a JSON or CSV file is, by its keys or columns; InputError if it is none of this project's."""
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        raise foreign(path) from None
    return _json(path, text) if text.lstrip().startswith(("{", "[")) else _table(path, text)


def _json(path: Path, text: str) -> About:
    try:
        content = json.loads(text)
    except ValueError:
        raise foreign(path) from None
    if not isinstance(content, dict):
        raise foreign(path)
    for keys, (kind, kept) in JSONS.items():
        if set(keys) <= set(content):
            return {"kind": kind, **kept(content)}
    raise foreign(path)


SEARCHED = ("steps", "starts", "agreeing", "spread", "draws", "converged")  # what a search or a mean was worth


def about_sharpness(report: About) -> About:
    """Of a report of sharpness: the model, the settings, and each measure with its standard error and definition."""
    measures, definitions = report["measures"], report["definitions"]
    return {
        **{name: report.get(name) for name in ("name", "error", "digest", "epoch", "settings", "notes", "config")},
        "measures": {
            name: {
                "value": value,
                "stderr": measures.get(f"{name}:stderr"),
                "residual": measures.get(f"{name}:residual"),
                **{extra: measures[f"{name}:{extra}"] for extra in SEARCHED if f"{name}:{extra}" in measures},
                **{part: definitions.get(name.split("@")[0], {}).get(part) for part in ("units", "definition")},
            }
            for name, value in measures.items()
            if ":" not in name
        },
    }


#: keys that a JSON file has -> what it is, and what is said of it
JSONS: dict[tuple[str, ...], tuple[str, Callable[[About], About]]] = {
    ("settings", "measures", "definitions"): ("report of sharpness (analysis.sharpness)", about_sharpness),
    ("config", "digest", "data_digest"): ("metrics of a run (training.train)", dict),
    ("metric", "plane", "basins", "features"): (
        "basins and hills of a surface (analysis.topology)",
        lambda content: {name: content[name] for name in ("metric", "plane", "basins", "hills") if name in content},
    ),
}


def _table(path: Path, text: str) -> About:
    lines = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    if lines:
        for columns, kind in TABLES.items():
            if has_columns(lines[0], columns):
                return {"kind": f"table: {kind}", "columns": lines[0], "rows": len(lines) - 1}
    raise foreign(path)


def has_columns(header: list[str], wanted: tuple[Any, ...]) -> bool:
    """Whether `header` begins with `wanted`; those after an ellipsis may be anywhere in it."""
    count = wanted.index(...) if ... in wanted else len(wanted)
    return tuple(header[:count]) == wanted[:count] and set(wanted[count + 1 :]) <= set(header)


def foreign(path: Path) -> InputError:
    return InputError(
        f"{path}: expected a grid file, a checkpoint, a file in the reference tool's layout, or a JSON or CSV result "
        "of this project, found another or a damaged file"
    )
