"""Ranks that meet: unlike options, ranks that end before they come, and those that never come."""

import time
from dataclasses import dataclass, field

import pytest

from tests.conftest import run_python, run_unlike
from training.runtime.command import InputError
from training.runtime.meeting import WAIT, WAIT_SECONDS, meet, options_of, time_limit

SCRIPT = ("-m", "tests.mpi.meeting_script")  # found in the working directory, as the packages are then
SECONDS = 60  # what waits for a rank that never comes waits for ever; the rest is for slow machines
ALIKE = "; start all ranks with the same options, files and code"


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("error: ")]


def test_alike_ranks_meet() -> None:
    done = run_python(*SCRIPT, "--seed", 3, ranks=3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "met 3\n", "")


def test_alone_nothing_is_met() -> None:
    assert meet(lambda: 5, lambda number: {}) == (None, 5)


def test_options_that_decide_no_numbers_may_differ() -> None:
    done = run_unlike((*SCRIPT, "--threads", 1), (*SCRIPT, "--threads", 2))
    assert (done.returncode, done.stdout, done.stderr) == (0, "met 2\n", "")


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ((0, 1), f"error: rank 1: expected what rank 0 has, found --seed 1 instead of 0{ALIKE}"),
        ((2, 1, 1), f"error: ranks 1, 2: expected what rank 0 has, found --seed 1 instead of 2{ALIKE}"),
        ((2, -1), "error: rank 1: --seed: expected at least 0, found -1"),
        ((-1, 2), "error: --seed: expected at least 0, found -1"),
        ((-1, -1), "error: --seed: expected at least 0, found -1"),
    ],
)
def test_unlike_or_unusable_options_end_all_with_one_line(seeds: tuple[int, ...], line: str) -> None:
    done = run_unlike(*((*SCRIPT, f"--seed={seed}") for seed in seeds), timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [line]


@pytest.mark.parametrize("option", ["--sed=3", "--help"])
def test_wrong_usage_and_help_on_one_rank_alone_end_all(option: str) -> None:
    """That rank says nothing of its own, since all others would say the same; the root says which it was."""
    done = run_unlike(SCRIPT, (*SCRIPT, option), timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    expected = f"error: rank 1: expected options as on the other ranks, found {option}, which are refused or ask for"
    assert done.stderr.splitlines() == [f"{expected} help alone"]


def test_a_bug_before_the_meeting_ends_all_and_keeps_its_traceback() -> None:
    done = run_unlike(SCRIPT, (*SCRIPT, "--seed=99"), timeout=SECONDS)
    assert done.returncode != 0
    assert errors(done.stderr) == ["error: rank 1: KeyError: 'a bug'"]
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize("missing", [0, 1])
def test_a_rank_that_never_comes_ends_the_others_in_time_with_one_line(missing: int) -> None:
    """A process that ends before MPI starts, whatever it is: with Python it would be an ImportError."""
    ranks: list[tuple[str, ...]] = [SCRIPT, SCRIPT, SCRIPT]
    ranks[missing] = ()
    start = time.monotonic()
    done = run_unlike(*ranks, env={WAIT: "2"}, timeout=SECONDS)
    assert 2 < time.monotonic() - start < 30
    assert done.returncode != 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: rank {int(missing == 0)}: expected all 3 processes of the launcher to meet within 2"
    )
    assert f"or set {WAIT} to more seconds" in line


def test_a_late_rank_is_waited_for_within_the_limit_and_without_one() -> None:
    for limit in ("30", "0"):
        done = run_unlike(SCRIPT, (*SCRIPT, "--late", 2), env={WAIT: limit}, timeout=SECONDS)
        assert (done.returncode, done.stdout, done.stderr) == (0, "met 2\n", ""), limit


@pytest.mark.parametrize(("kind", "line"), [("import", "No module named 'a_module"), ("run", "the run had to stop")])
def test_what_one_rank_raises_alone_after_the_meeting_ends_all(kind: str, line: str) -> None:
    done = run_unlike(SCRIPT, (*SCRIPT, "--fails", kind), timeout=SECONDS)
    assert done.returncode == 1
    (error,) = errors(done.stderr)
    assert error.startswith(f"error: rank 1: {line}")
    assert ("Traceback" in done.stderr) == (kind == "import")


def test_the_limit_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WAIT, raising=False)
    assert time_limit() == WAIT_SECONDS
    for text, seconds in (("", WAIT_SECONDS), ("12.5", 12.5), ("0", 0.0)):
        monkeypatch.setenv(WAIT, text)
        assert time_limit() == seconds
    for text in ("soon", "-1", "nan", "inf"):
        monkeypatch.setenv(WAIT, text)
        with pytest.raises(InputError, match=f"{WAIT}: expected seconds, or 0 for no limit, found '{text}'"):
            time_limit()


@dataclass
class Inner:
    and_: str = "b"
    data_dir: str = "c"


@dataclass
class Outer:
    max_samples: int = 5
    threads: int = 2
    inner: Inner = field(default_factory=Inner)


def test_options_are_named_as_on_the_command_line() -> None:
    assert options_of(Outer()) == {"--max-samples": 5, "--and": "b"}
