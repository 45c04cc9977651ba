"""What a file is by its content, not its name: so that a command writes over nothing but what it wrote itself.

A look at the first bytes, and at the keys of a JSON file or the header of a table; nothing heavy is imported.
"""

import csv
import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

HEAD = 1 << 16  # bytes; a grid file names itself in the first 4096, SVG and PNG in the first thousand
TAIL = 4096  # a PDF names its maker at its end
LARGEST_JSON = 1 << 26  # bytes: one larger is of no kind known here

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
    ("run", "loss", "lamp_scale", ..., "updates"): "AUROC from checkpoint to checkpoint (analysis.jumps)",
    ("fit", "arm", "loss"): "twins at equal fit, a row an arm (analysis.doses)",
    ("dimension", "birth", "death"): "basins and hills of a surface (analysis.topology)",
}

#: keys that a JSON file has -> what it is
JSONS: dict[tuple[str, ...], str] = {
    ("settings", "measures", "definitions"): "report of sharpness (analysis.sharpness)",
    ("config", "digest", "data_digest"): "metrics of a run (training.train)",
    ("metric", "plane", "basins", "features"): "basins and hills of a surface (analysis.topology)",
}

GRID, CHECKPOINT, TORCH = "a grid file", "a checkpoint", "a file of torch"
SURFACE, DIRECTIONS = "a surface file of the reference tool", "a direction file of the reference tool"
SHARPNESS = TABLES["run", "dataset", "task", ..., "auroc", "images"]
REPORT = JSONS["settings", "measures", "definitions"]

#: how a file begins -> what must stand near that beginning, or near its end, for each kind; b"" is the rest
BINARY: dict[bytes, dict[bytes, str]] = {
    b"\x89HDF": {
        b"xcoordinates": SURFACE,
        b"xdirection": DIRECTIONS,
        b"landscape-grid": GRID,
        b"": "an HDF5 file of another program",
    },
    b"\x89PNG": {b"Matplotlib": "a figure (PNG)", b"": "an image (PNG) of another program"},
    b"%PDF": {b"(Matplotlib": "a figure (PDF)", b"": "a PDF of another program"},
    b"GIF8": {b"": "an animation (GIF)"},
    b"<?xml": {
        b"Matplotlib v": "a figure (SVG)",
        b"<VTKFile": "a VTK file",
        b"": "an XML file of another program",
    },
    b"<!DOCTYPE html": {b"<title>Loss landscape": "a page of surfaces", b"": "an HTML page of another program"},
    b"\\begin{tab": {b"": "a table in LaTeX"},
    b"| ": {b"": "a table in Markdown"},
    b"**": {b"\n| ": "a table in Markdown"},
}


def kind_of(path: Path) -> str:
    """What the file `path` is, in words: equal for files that the same command writes. "" is an empty file.

    Raises OSError if it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(len(head), path.stat().st_size - TAIL))
        tail = file.read(TAIL)
    for start, kinds in BINARY.items():
        if head.startswith(start):
            return next((kind for mark, kind in kinds.items() if mark in head or mark in tail), "another file")
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_archive(head)
    try:
        text = head.decode(errors="ignore" if len(head) == HEAD else "strict")
    except UnicodeDecodeError:
        return "another file"
    if "\0" in text:
        return "another file"
    return _kind_of_json(path) if text.lstrip().startswith(("{", "[")) else _kind_of_text(text)


def _kind_of_archive(head: bytes) -> str:
    """Of a zip file: what torch saved, or an NPZ file, which is told by its first array."""
    first = head[30 : 30 + int.from_bytes(head[26:28], "little")].decode(errors="replace")
    if first.endswith("/data.pkl"):
        return CHECKPOINT if b"landscape-checkpoint" in head else TORCH
    return npz_kind(first.removesuffix(".npy")) if first.endswith(".npy") else "a zip file"


def npz_kind(first: str) -> str:
    """What an NPZ file is whose first array has the name `first`."""
    return f"an NPZ file that begins with {first[:60]!r}"


def _kind_of_json(path: Path) -> str:
    try:
        content = json.loads(path.read_bytes()) if path.stat().st_size <= LARGEST_JSON else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return "another JSON file"
    for keys, kind in JSONS.items():
        if set(keys) <= set(content):
            return kind
    return f"a JSON file that begins with {next(iter(content), '')[:60]!r}"


def _kind_of_text(text: str) -> str:
    """Of a table its kind, or its first column; of another text, that it is one."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        return "" if not text.strip() else "a text"
    try:
        header = next(csv.reader(lines[:1]), [])
    except csv.Error:
        return "a text"
    if kind := table_kind(header):
        return kind
    return f"a table whose first column is {header[0][:60]!r}" if len(header) > 1 else "a text"


def table_kind(header: list[str]) -> str:
    """What a table with these columns is, "" if it is none of this project's."""
    return next((kind for columns, kind in TABLES.items() if has_columns(header, columns)), "")


def has_columns(header: list[str], wanted: tuple[Any, ...]) -> bool:
    """Whether `header` begins with `wanted`; those after an ellipsis may be anywhere in it."""
    count = wanted.index(...) if ... in wanted else len(wanted)
    return tuple(header[:count]) == wanted[:count] and set(wanted[count + 1 :]) <= set(header)


def paths_of(options: Any) -> list[Path]:
    """The paths that a dataclass of options holds, those of dataclasses in it too, but for `out`."""
    found: list[Path] = []
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            found += paths_of(value)
        elif field.name != "out":
            found += [item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Path)]
    return found
