"""Grid files in tests: made, and compared."""

from pathlib import Path

import h5py
import numpy as np

from landscape.files.grid import DIGEST
from landscape.surface import main


def surface(*options: object) -> None:
    """`python -m landscape.surface options…`, in this process."""
    main([str(option) for option in options])


def same_content(first: Path, second: Path, rtol: float = 0.0) -> None:
    """Hold every data set, axis and attribute but the command line of two files equal."""
    with h5py.File(first) as a, h5py.File(second) as b:
        names: list[str] = []
        a.visit(names.append)
        others: list[str] = []
        b.visit(others.append)
        assert names == others
        for name in names:
            if rtol and name == DIGEST:
                continue
            if isinstance(a[name], h5py.Dataset):
                np.testing.assert_allclose(a[name][()], b[name][()], rtol=rtol, atol=0, equal_nan=True)
        for name in set(a.attrs) | set(b.attrs):
            if name != "command":
                assert a.attrs[name] == b.attrs[name]
