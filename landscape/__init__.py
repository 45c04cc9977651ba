"""Loss surfaces: a model or checkpoint becomes an HDF5 grid, or in Python a `Grid`.

>>> import landscape
>>> grid = landscape.compute(problem, x="-1:1:51", y="-1:1:51")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lamp_landscape import NAME, check_packages

if TYPE_CHECKING:
    from landscape.api import compute
    from landscape.directions.options import PlaneOptions
    from landscape.files.grid import Grid, read_grid
    from landscape.problem.metric import Metric
    from landscape.problem.problem import Problem, Samples
    from landscape.sources import from_checkpoint

    __version__: str

check_packages("training")

__all__ = ["Grid", "Metric", "PlaneOptions", "Problem", "Samples", "compute", "from_checkpoint", "read_grid"]

#: name -> its module, imported when the name is first used: torch takes seconds
HOMES = {
    "compute": "api",
    "from_checkpoint": "sources",
    "Grid": "files.grid",
    "Metric": "problem.metric",
    "PlaneOptions": "directions.options",
    "Problem": "problem.problem",
    "read_grid": "files.grid",
    "Samples": "problem.problem",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":  # told once, in setup.cfg
        from importlib.metadata import version

        return version(NAME)
    if name not in HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(import_module(f"landscape.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
