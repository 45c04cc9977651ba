"""Flipped bytes and attributes of any kind: what they were, or one line; no other number, no traceback, no wait."""

import json
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from figures.viewer import page_data
from landscape.files.describe import describe
from landscape.files.grid import read_grid
from landscape.inspect import text_of
from tests.landscape.files.test_gridfile import GridWriter, grid
from tests.landscape.files.test_untrusted import sound
from training.fitting.checkpoint import load_checkpoint
from training.runtime.command import InputError

FLIPS = 100


def flipped(whole: bytes, seed: int) -> "list[tuple[int, bytes]]":
    random = np.random.default_rng(seed)
    found = []
    for at in random.integers(len(whole), size=FLIPS).tolist():
        content = bytearray(whole)
        content[at] ^= 1 << int(random.integers(8))
        found.append((at, bytes(content)))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_flipped_byte_of_a_grid_is_read_as_something_else(tmp_path: Path, seed: int) -> None:
    path = sound(tmp_path / "a.h5")
    whole, before = path.read_bytes(), read_grid(path)
    refused = 0
    for at, content in flipped(whole, seed):
        path.write_bytes(content)
        try:
            after = read_grid(path)
        except InputError:
            refused += 1
            continue
        np.testing.assert_equal(after.values, before.values, err_msg=f"byte {at}")
        np.testing.assert_equal(after.stderr, before.stderr, err_msg=f"byte {at}")
        np.testing.assert_array_equal(after.done, before.done)
        np.testing.assert_array_equal(after.x.values, before.x.values)
        assert after.meta == before.meta, f"byte {at}"
    assert refused


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_no_flipped_byte_of_a_checkpoint_is_read_as_something_else(tmp_path: Path, checkpoint: Path, seed: int) -> None:
    before, path = load_checkpoint(checkpoint), tmp_path / "a.pt"
    for at, content in flipped(checkpoint.read_bytes(), seed):
        path.write_bytes(content)
        try:
            after = load_checkpoint(path)
        except InputError:
            continue
        assert after.digest == before.digest, f"byte {at}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = ("config", "checkpoint_metrics", "plane", "ranges", "name", "epoch", "software", "command", "device")
FIELDS = ("loss", "auroc", "auroc_low", "auroc_high", "probe", "kind", "summary", "notes", "models", "train_dir", "x")


@pytest.mark.slow
@given(name=st.sampled_from(NAMES), value=JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_attributes_of_any_kind_are_shown_or_named(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "a.h5"
    if not path.exists():
        GridWriter(path, grid(), {}).close()
    with h5py.File(path, "r+") as file:
        for other in NAMES:
            file.attrs.pop(other, None)
        file.attrs[name] = json.dumps(value)
    with suppress(InputError):
        text_of(describe(path)).encode()
        json.dumps(page_data([("a.h5", read_grid(path))]), allow_nan=False)
