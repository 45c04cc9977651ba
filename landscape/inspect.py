"""`python -m landscape.inspect`: what a file holds, how far it is, where it came from, and how to go on with it."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from landscape.files.describe import describe
from landscape.files.known import About
from training.runtime.command import InputError, command, parse, printable

DESCRIPTION = """Say what files hold: grid files (also while they grow), checkpoints, results, reference files.

Example: python -m landscape.inspect runs/a/surface.h5
Example: python -m landscape.inspect runs/a/checkpoint.pt runs/a/surface.h5 --json"""


@dataclass(frozen=True)
class Arguments:
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or more files."""
    json: bool = False
    """Print JSON only: a list, an object a file, null for numbers that JSON has not."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "landscape.inspect", DESCRIPTION)
    if not arguments.files:
        raise InputError("files: expected one or more, found none")
    found = [describe(path) for path in arguments.files]
    if arguments.json:
        print(json.dumps(plain(found), indent=1, allow_nan=False))
    else:
        print(printable("\n\n".join(text_of(about) for about in found)))


def plain(value: Any) -> Any:
    """With null for numbers that JSON has not."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


#: what :func:`text_of` says in lines of their own
SHOWN = (
    *("file", "kind", "format", "format_version", "newest_version", "planes", "axes", "progress", "directions"),
    *("measures", "commands", "origin"),
)


def text_of(about: About) -> str:
    """What was found as lines for the eye: first what the file is, last the commands."""
    lines = [f"{about['file']}: {about['kind']}" + _version(about)]
    if "progress" in about:
        lines += [_axes(about), _progress(about)]
        lines += [line for name, metric in about["metrics"].items() for line in _metric(name, metric)]
    for name, size in about.get("directions", {}).items():
        lines.append(f"  direction {name}: {size['numbers']} numbers in {size['parameters']} parameters")
    lines += [_measure(name, measure) for name, measure in about.get("measures", {}).items()]
    shown = (
        "file",
        "kind",
        "measures",
        "format",
        "format_version",
        "newest_version",
        "planes",
        "axes",
        "progress",
        "directions",
    )
    rest = {name: value for name, value in about.items() if name not in (*shown, "commands", "origin")}
    if "progress" in about:
        del rest["metrics"]
    lines += [f"  {name}: {_value(value)}" for name, value in {**rest, **about.get("origin", {})}.items() if value]
    for name, line in about.get("commands", {}).items():
        lines.append(f"  {name} with: {line}" if line else f"  {name} with: no command is recorded")
    return "\n".join(lines)


def _version(about: About) -> str:
    return f", format {about['format']} {about['format_version']}" if "format" in about else ""


def _axes(about: About) -> str:
    axes = [
        f"{name} {axis['low']:g}:{axis['high']:g}:{axis['points']}"
        for name, axis in about["axes"].items()
        if name == "x" or axis["points"] > 1
    ]
    return f"  axes {', '.join(axes)}; {about['planes']} {'line' if len(axes) == 1 else 'plane'}(s)"


def _progress(about: About) -> str:
    counts = about["progress"]
    parts = [f"{counts['done']} of {counts['points']} points done"]
    parts += [f"{counts[name]} {name}" for name in ("evaluated", "interpolated", "diverged")]
    errors = [metric["interpolation_error"] for metric in about["metrics"].values()]
    if known := [error for error in errors if error is not None]:
        parts.append(f"largest error at held-out points {max(known):.2%} of the range")
    return "  " + ", ".join(parts) + ("" if counts["complete"] else ": unfinished")


def _metric(name: str, metric: About) -> list[str]:
    lines = [f"  metric {name}: {metric['definition']}" if "definition" in metric else f"  metric {name}"]
    if metric["interpolation_error"] is not None:
        lines.append(_interpolation(metric))
    if metric.get("finite") is False:
        lines.append("    no finite value at any point done")
    places = [(which, metric[which]) for which in ("minimum", "maximum") if metric[which]]
    return lines + [
        f"    {which} {at['value']:.6g} at x={at['x']:g}, y={at['y']:g}, plane {at['plane']}" for which, at in places
    ]


def _interpolation(metric: About) -> str:
    limit = metric["interpolation_limit"]
    told = "not known" if limit is None else f"below {limit:.2%} with 95% confidence"
    return (
        f"    interpolated: error {metric['interpolation_error']:.2%} of the range at held-out points, largest {told}"
    )


def _measure(name: str, measure: About) -> str:
    value = "no value" if measure["value"] is None else f"{measure['value']:.6g}"
    error = "" if measure["stderr"] is None else f" ± {measure['stderr']:.2g}"
    residual = "" if measure["residual"] is None else f", residual {measure['residual']:.2g}"
    units = f" {measure['units']}" if measure["units"] not in (None, "1") else ""
    return f"  measure {name}: {value}{error}{units}{residual}"


def _value(value: Any) -> str:
    if isinstance(value, dict) and "summary" in value:
        return "; ".join([value["summary"], *value.get("notes", ())])
    if isinstance(value, dict):
        told = {name: item for name, item in value.items() if not isinstance(item, dict) and item not in ("", None)}
        return ", ".join(f"{name} {_value(item)}" for name, item in told.items())
    if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value):
        return f"{value[:12]}…"  # a digest is told apart by its beginning; --json has all of it
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


if __name__ == "__main__":
    raise SystemExit(command(main)())
