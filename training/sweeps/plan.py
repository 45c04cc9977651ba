"""Sweeps as files: tables of settings in TOML become the configs of all runs; needs no torch.

    [all]                     # settings of every run
    dataset = "mnist"
    epochs = 5

    [[grid]]                  # a product: a list is varied, anything else is fixed
    normal = [0, 1, 2]
    loss = ["l2", "l2-lamp"]
    batch_size = [1024, 128]

    [[grid]]                  # a second product, added to the first
    …

Names and values are those of :class:`training.data.config.RunConfig`; what is not named has its default.
"""

import dataclasses
import itertools
import math
import re
import tomllib
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.config import DIGIT_SETS, RunConfig, resolve, with_later_fields
from training.runtime.command import InputError, unusable

MOST_RUNS = 100_000  # of a grid: beyond, planning alone takes minutes
NAMED_ALWAYS = ("dataset", "normal", "category", "loss", "batch_size", "seed")
FIELDS = {field.name: field for field in dataclasses.fields(RunConfig)}
TYPES = typing.get_type_hints(RunConfig)


@dataclass(frozen=True)
class PlannedRun:
    """A run of a sweep: the name of its folder, and its resolved config."""

    name: str
    config: RunConfig


def read_plan(path: Path, changes: Sequence[str] = ()) -> list[PlannedRun]:
    """The runs that a sweep's file lists, in its order: the last setting of a grid varies fastest.

    changes: settings `name=value` that replace the file's own, everywhere; values as in TOML, lists are varied.
    Raises InputError for a file that cannot be read, unknown settings or values, and runs listed twice.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unusable(path, "a sweep's TOML file", error) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{path}: expected TOML, found an error: {error}") from None
    return plan(changed(content, changes), str(path))


def changed(content: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The tables of a sweep's file with the settings `name=value` in the place of its own.

    >>> changed({"all": {"epochs": 5}, "grid": [{"seed": [0, 1], "loss": "l2"}]}, ["seed=2", "epochs=[1, 2]"])
    {'all': {'epochs': [1, 2], 'seed': 2}, 'grid': [{'loss': 'l2'}]}
    """
    for change in changes:
        name, equals, text = (part.strip() for part in change.partition("="))
        if not equals or name not in FIELDS:
            raise InputError(f"--set {change}: expected name=value with a setting of runs, found no such setting")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text  # a name without quotes
        tables = {"all": content.get("all", {}), "grid": content.get("grid", [{}])}
        if not isinstance(tables["all"], dict) or not all(isinstance(grid, dict) for grid in tables["grid"]):
            return content  # plan() says what is wrong
        grids = [{key: kept for key, kept in grid.items() if key != name} for grid in tables["grid"]]
        content = {**content, "all": {**tables["all"], name: value}, "grid": grids}
    return content


def plan(content: dict[str, Any], where: str) -> list[PlannedRun]:
    """As :func:`read_plan`, from the file's tables."""
    common, grids = content.get("all", {}), content.get("grid", [{}])
    unknown = sorted(set(content) - {"all", "grid"})
    if unknown or not isinstance(common, dict) or not isinstance(grids, list):
        raise InputError(
            f"{where}: expected the tables [all] and [[grid]], found {', '.join(unknown) or 'other forms'}"
        )
    runs: dict[str, PlannedRun] = {}
    for number, grid in enumerate(grids, 1):
        place = f"{where}, grid {number}"
        if not isinstance(grid, dict):
            raise InputError(f"{place}: expected a table [[grid]], found {grid!r}")
        for config in product({**common, **grid}, place):
            run = PlannedRun(run_name(config), config)
            if run.name in runs:
                raise InputError(f"{place}: expected each run once, found {run.name} again")
            runs[run.name] = run
    return list(runs.values())


def product(settings: dict[str, Any], where: str) -> Iterator[RunConfig]:
    """The configs of all combinations of the lists in `settings`. Raises InputError for what cannot be trained."""
    for name in settings:
        if name not in FIELDS:
            raise InputError(f"{where}: expected settings among {', '.join(FIELDS)}, found {name!r}")
    choices = [
        [checked(name, value, where) for value in (values if isinstance(values, list) else [values])]
        for name, values in settings.items()
    ]
    for name, values in zip(settings, choices, strict=True):
        if not values:
            raise InputError(f"{where}: expected one or more values of {name}, found an empty list")
    if (count := math.prod(map(len, choices))) > MOST_RUNS:
        raise InputError(f"{where}: expected at most {MOST_RUNS} runs, found {count}; shorten its lists")
    for combination in itertools.product(*choices):
        try:
            yield resolve(RunConfig(**dict(zip(settings, combination, strict=True))))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None


def checked(name: str, value: Any, where: str) -> Any:
    """`value` as the type of the setting `name`; InputError if it is of another."""
    expected = TYPES[name]
    choices = typing.get_args(expected)
    if choices:
        fits = isinstance(value, str) and value in choices
        description = f"one of {', '.join(choices)}"
    elif expected is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        value, description = float(value) if fits else value, "a number"
    else:
        fits = type(value) is expected
        description = {int: "a whole number", bool: "true or false", str: "a text"}[expected]
    if not fits:
        raise InputError(f"{where}: expected {description} for {name}, found {value!r}")
    return value


def run_name(config: RunConfig) -> str:
    """A folder's name of the settings that tell a run from others: the usual ones, and those that are not default.

    It does not depend on what else a sweep holds, so that a sweep can be extended.
    """
    usual = resolve(dataclasses.replace(RunConfig(), dataset="mnist" if config.dataset in DIGIT_SETS else "mvtec"))
    parts = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in vars(config).items()
        if (name in NAMED_ALWAYS or value != getattr(usual, name)) and is_read(name, config)
    ]
    return re.sub(r"[^\w.=,+-]+", "_", ",".join(parts))


def is_read(name: str, config: RunConfig) -> bool:
    """Whether the run depends on the setting `name` at all."""
    if name == "normal":
        return config.dataset in DIGIT_SETS and config.task == "reconstruct"
    if name == "category":
        return config.dataset == "mvtec"
    return not name.startswith("lamp_") or config.loss.endswith("-lamp")


def stacks(runs: Sequence[PlannedRun], keys: Sequence[Any], largest: int) -> list[list[PlannedRun]]:
    """Runs with equal `keys` together, at most `largest` of them, in the order of their first ones.

    A key of None stays alone.
    """
    groups: list[list[PlannedRun]] = []
    open_groups: dict[Any, list[PlannedRun]] = {}
    for run, key in zip(runs, keys, strict=True):
        group = open_groups.get(key) if key is not None else None
        if group is None or len(group) >= largest:
            group = []
            groups.append(group)
            open_groups[key] = group
        group.append(run)
    return groups


def config_from_text(row: dict[str, str]) -> RunConfig:
    """The config of a row of results.csv, `LATER_FIELDS` in it or not; KeyError or ValueError if it is no such row."""
    kinds: dict[Any, Any] = {int: int, float: float, bool: lambda text: text == "True"}
    values = with_later_fields(row)
    return RunConfig(**{name: kinds.get(TYPES[name], str)(values[name]) for name in FIELDS})
