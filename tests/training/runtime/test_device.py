"""How many threads: what is asked for, what the environment says, what the machine allows."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from training.runtime import device
from training.runtime.command import InputError
from training.runtime.device import NO_LIMIT, allowed_cpus, use_threads


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(device, "allowed_cpus", lambda: NO_LIMIT)


def test_cores_are_divided_among_the_ranks_that_share_them() -> None:
    assert use_threads(0, 2, set(range(8))) == 4
    assert torch.get_num_threads() == 4
    assert use_threads(0, 8, set(range(4))) == 1
    assert use_threads(3, 2, set(range(8))) == 3
    assert use_threads(0) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("text", "expected"), [("3", 3), (" 2 ", 2), ("5,2", 5)])
def test_the_environment_is_followed_rank_by_rank(text: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert use_threads(0, 2, set(range(8))) == expected
    assert use_threads(1, 2, set(range(8))) == 1  # what is asked for comes first


@pytest.mark.parametrize("text", ["", "0", "-2", "many", "1.5", "²"])
def test_an_environment_that_names_no_number_is_as_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    assert use_threads(0, 2, set(range(8))) == 4


def test_absurd_numbers_are_refused_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="--threads: expected 0 for OMP_NUM_THREADS or all cores"):
        use_threads(-1)
    monkeypatch.setenv("OMP_NUM_THREADS", "100000")
    with pytest.raises(InputError, match=r"OMP_NUM_THREADS: expected up to 4 threads a core, found 100000; change it"):
        use_threads(0)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b", {"a/b/cpu.max": "250000 100000\n"}, 2),
        ("0::/a/b", {"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n"}, 3),
        ("0::/", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a/b", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/a/b", {}, NO_LIMIT),
        ("9:x:/\n4:cpu,z:/j", {"cpu,z/j/cpu.cfs_quota_us": "200000", "cpu,z/j/cpu.cfs_period_us": "100000"}, 2),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, NO_LIMIT),
        ("9:memory:/m", {"memory/m/cpu.max": "100000 100000"}, NO_LIMIT),
    ],
)  # fmt: skip
def test_control_groups_limit_cpus(membership: str, files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(membership + "\n")
    assert allowed_cpus(tmp_path / "groups", tmp_path / "own") == expected
    assert allowed_cpus(tmp_path / "groups", tmp_path / "none") == NO_LIMIT


def test_a_limit_is_shared_by_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "allowed_cpus", lambda: 4)
    assert use_threads(0, 2, set(range(64))) == 2
    assert use_threads(0, 8, set(range(64))) == 1
