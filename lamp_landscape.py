"""The distribution lamp-landscape: its four packages, the command `landscape`, and a word where a package is another's.

`training`, `analysis` and `figures` are names that folders and other projects have too, and Python takes whichever it
finds first. This module has a name of its own, so that it is found, and lies beside the packages, so that it knows
theirs.
"""

import os
import sys
from importlib.util import find_spec

NAME = "lamp-landscape"
#: each imports from those before it
PACKAGES = ("training", "landscape", "analysis", "figures")
HERE = os.path.dirname(os.path.realpath(__file__))


def check_packages(*names: str) -> None:
    """See that the packages `names` are those of this distribution, at the cost of looking for them.

    If not, a command that starts (`python -m …`) ends with one line and status 2; elsewhere it is an ImportError.
    """
    for name in names:
        found = place_of(name)
        if found == os.path.join(HERE, name):
            continue
        message = (
            f"{name}: expected the package of {NAME} in {HERE}, found {found or 'none'}; "
            "start in another folder, rename what was found, or take it off PYTHONPATH"
        )
        if sys.argv[:1] != ["-m"]:  # which it is until the module to run has been found
            raise ImportError(message)
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)


def place_of(name: str) -> str | None:
    """The folder, or file, that `import name` takes; None if there is none. Nothing is imported."""
    spec = find_spec(name)
    if spec is None:
        return None
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""]
    return os.path.realpath(places[0])


def main() -> int:
    """The command `landscape`."""
    try:
        check_packages(*PACKAGES)
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from landscape.__main__ import main as run

    return run()
