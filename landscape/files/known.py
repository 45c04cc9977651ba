"""The JSON and CSV results of this project, told apart by their keys and columns: plain values."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.runtime.command import InputError
from training.runtime.kinds import JSONS, table_kind

About = dict[str, Any]


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
    for keys, kind in JSONS.items():
        if set(keys) <= set(content):
            return {"kind": kind, **KEPT.get(kind, dict)(content)}
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


#: kind of JSON file -> what is said of it, where not all of it
KEPT: dict[str, Callable[[About], About]] = {
    JSONS["settings", "measures", "definitions"]: about_sharpness,
    JSONS["metric", "plane", "basins", "features"]: lambda content: {
        name: content[name] for name in ("metric", "plane", "basins", "hills") if name in content
    },
}


def _table(path: Path, text: str) -> About:
    lines = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    if lines and (kind := table_kind(lines[0])):
        return {"kind": f"table: {kind}", "columns": lines[0], "rows": len(lines) - 1}
    raise foreign(path)


def foreign(path: Path) -> InputError:
    return InputError(
        f"{path}: expected a grid file, a checkpoint, a file in the reference tool's layout, or a JSON or CSV result "
        "of this project, found another or a damaged file"
    )
