"""Axes as users write them."""

import numpy as np
import pytest

from landscape.files.grid import parse_axis
from training.runtime.command import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-1:1:5", [-1, -0.5, 0, 0.5, 1]), ("0:2:3", [0, 1, 2]), ("-0.5:0.5:2", [-0.5, 0.5]), ("3:3:1", [3])],
)
def test_axes(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(parse_axis("x", text).values, expected)


def test_the_base_point_lies_on_symmetric_axes_of_any_odd_length() -> None:
    for count in range(3, 402, 2):
        assert parse_axis("x", f"-0.3:0.3:{count}").values[count // 2] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "expected low:high:count"),
        ("a:b:c", "expected low:high:count"),
        ("-1:1:2.5", "expected low:high:count"),
        ("1:-1:5", "expected low < high"),
        ("0:1:1", "expected low < high"),
        ("0:0:3", "expected low < high"),
        ("-inf:1:3", "expected finite ends"),
        ("nan:1:3", "expected finite ends"),
        ("-1e308:1e308:3", "expected steps of at most 1e"),
        ("1:1.0000000000000002:5", "expected ends that 5 points can lie between"),
        ("0:1:0", "expected 1 to 10001 points"),
    ],
)
def test_bad_axes_are_named(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"--x=.*{message}"):
        parse_axis("x", text)
