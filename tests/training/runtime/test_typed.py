"""Values held to declared types."""

from typing import Any, Literal

import pytest

from training.data.config import RunConfig, config_from_dict
from training.runtime.command import InputError
from training.runtime.typed import misfit

CASES: list[tuple[Any, Any, str]] = [
    (1, int, ""),
    (1, float, ""),
    (True, int, "True"),
    (1.5, int, "1.5"),
    ("a", Literal["a", "b"], ""),
    ("c", Literal["a", "b"], "'c'"),
    (True, Literal[1], "True"),
    (None, int | None, ""),
    ({"a": ["x", 2]}, dict[str, list[str]], "a.1: 2"),
    ({1: "x"}, dict[str, str], "1: 1"),
    ([], dict[str, str], "[]"),
    ("\ud800", str, "'\\ud800'"),
    ({"a": {"b": ["\ud800"]}}, Any, "{'a': {'b': ['\\ud800']}}"),
]


@pytest.mark.parametrize(("value", "kind", "found"), CASES)
def test_what_does_not_fit_is_named(value: Any, kind: Any, found: str) -> None:
    said = misfit(value, kind)
    assert said == found or (kind is Any and said)


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("width", "16", "width: '16'"),
        ("width", -1, "--width: expected at least 1, found -1"),
        ("patches", 7, "--patches: expected a square number"),
        ("image_size", None, "image_size: None"),
        ("dataset", "nothing", "dataset: 'nothing'"),
        ("loss", "l3", "loss: 'l3'"),
        ("model", "transformer", "model: 'transformer'"),
        ("lamp_detach", 1, "lamp_detach: 1"),
        ("lr", True, "lr: True"),
    ],
)
def test_fields_of_a_stored_config_are_checked(field: str, value: Any, found: str) -> None:
    stored = {**vars(RunConfig(image_size=32, channels=1, depth=4)), field: value}
    with pytest.raises(InputError, match=r"a\.pt: expected a configuration") as error:
        config_from_dict(stored, "a.pt")
    assert found in str(error.value)
