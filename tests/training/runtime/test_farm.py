"""Handing out tasks: alone, over ranks, with failures; launchers that do not fit."""

import sys
import time
from pathlib import Path

import pytest

from tests.conftest import run_python
from training.runtime import farm as module
from training.runtime.command import InputError
from training.runtime.device import choose_device
from training.runtime.farm import farm, together, world

MPI_SCRIPT = ("-m", "tests.mpi.farm_script")


def test_alone_every_task_is_stored_once_in_order() -> None:
    stored: list[tuple[int, int]] = []
    report = farm([3, 1, 4, 1, 5], lambda task: task * task, stored.extend)
    assert stored == [(3, 9), (1, 1), (4, 16), (1, 1), (5, 25)]
    assert report["tasks"] == 5


def test_no_tasks_are_done_at_once() -> None:
    assert farm([], lambda task: task, lambda results: None)["tasks"] == 0


def test_results_are_stored_while_others_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH_SECONDS", 0.02)
    batches: list[int] = []
    farm(range(10), lambda task: time.sleep(0.01), lambda results: batches.append(len(results)))
    assert sum(batches) == 10
    assert 2 <= len(batches) <= 9


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_over_ranks_every_task_is_stored_once_by_the_root(ranks: int) -> None:
    done = run_python(*MPI_SCRIPT, "count", ranks=ranks)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"stored 200 tasks, {ranks} ranks computed"]


def test_a_slow_root_makes_nobody_wait() -> None:
    """Rank 0 needs four times as long for a task; the other takes four times as many, and waits for less than one."""
    done = run_python(*MPI_SCRIPT, "slow-root", ranks=2)
    assert done.returncode == 0, done.stderr
    assert "balanced" in done.stdout


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kind", ["bug", "input", "memory", "store"])
def test_a_failure_on_one_rank_ends_all_with_its_message(kind: str, rank: int) -> None:
    if kind == "store" and rank == 1:
        pytest.skip("only the root stores")
    start = time.monotonic()
    done = run_python(*MPI_SCRIPT, "fail", kind, rank, ranks=3)
    assert time.monotonic() - start < 20
    assert done.returncode != 0
    assert f"error: rank {rank}: " in done.stderr
    assert "something went wrong" in done.stderr
    assert ("Traceback" in done.stderr) == (kind == "bug")


def test_unusable_input_on_one_rank_ends_all_with_one_line() -> None:
    done = run_python(*MPI_SCRIPT, "prepare", ranks=3)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if line.startswith("error")] == ["error: rank 1 lacks its file"]


def test_together_alone_is_the_call_itself() -> None:
    assert together(None, lambda: 5) == 5


def test_a_launcher_without_mpi_between_its_processes_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="expected 4 connected processes, found 1: mpi4py was built for another MPI"):
        world()
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(
        InputError, match=r"expected mpi4py to connect the 4 processes started, found none; pip install"
    ):
        world()


@pytest.mark.parametrize("name", ["PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_launchers_are_known_by_their_variables(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert module.launched_size() == 1
    monkeypatch.setenv(name, "8")
    assert module.launched_size() == 8


def test_four_processes_without_mpi_between_them_stop_and_say_so(tmp_path: Path) -> None:
    """As a launcher of another MPI would start them: each knows that it is one of four, and is alone."""
    options = (
        "-m",
        "landscape.surface",
        "--problem",
        "tests.problems:quadratic",
        "--x=-1:1:3",
        "--out",
        tmp_path / "a.h5",
    )
    for rank in range(4):
        env = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": str(rank)}
        done = run_python(*options, env=env)
        assert done.returncode == 2
        assert done.stderr.count("expected 4 connected processes, found 1") == (rank == 0)
        assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ranks_of_a_node_take_its_gpus_in_turn_and_say_when_they_share(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [str(choose_device("auto", rank, 2)) for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert capsys.readouterr().err == ""
    assert [str(choose_device("cuda", rank, 4)) for rank in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert capsys.readouterr().err == "4 ranks share 2 GPU(s) of this node: start one rank a GPU\n"
    assert str(choose_device("cpu", 3, 4)) == "cpu"
    with pytest.raises(InputError, match="--device: expected one of 2 GPUs of this machine, found 'cuda:2'"):
        choose_device("cuda:2")


def test_without_a_launcher_mpi_is_not_imported() -> None:
    code = "import sys; from training.runtime.farm import world; assert world() is None and 'mpi4py' not in sys.modules"
    assert run_python("-c", code).returncode == 0
