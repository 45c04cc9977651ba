"""The grid file: resume, refusal, locks, damage; a run that is killed and goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.files.grid import Grid, empty_grid, parse_axis, read_grid
from landscape.files.gridfile import GridWriter
from landscape.surface import main
from tests.conftest import BIN, ROOT, run_python
from tests.grids import same_content
from tests.processes import left_over, until
from training.runtime.command import InputError
from training.runtime.lock import lock_path


def grid(seed: int = 0):
    meta = {"identity": {"seed": seed, "x": "-1:1:4"}, "metrics": {key: {"transform": "log"} for key in ("l2", "own")}}
    return empty_grid(parse_axis("x", "-1:1:4"), parse_axis("y", "0:1:3"), ["l2", "own"], 2, meta)


def point(value: float) -> np.ndarray:
    return np.array([[value, value + 1], [value / 10, np.nan]])


def test_points_are_written_where_they_belong_and_kept(tmp_path: Path) -> None:
    writer = GridWriter(tmp_path / "g.h5", grid(), {"0/x/weight": np.ones((2, 3))})
    writer.write([((0, 2, 3), point(5.0)), ((1, 0, 1), point(-np.inf))])
    seen = read_grid(tmp_path / "g.h5")  # while it is open for writing
    writer.write([((0, 0, 0), point(np.nan))])
    writer.close()
    final = read_grid(tmp_path / "g.h5")
    assert np.argwhere(seen.done).tolist() == [[0, 2, 3], [1, 0, 1]]
    assert np.argwhere(final.done).tolist() == [[0, 0, 0], [0, 2, 3], [1, 0, 1]]
    assert final.values["l2"][0, 2, 3] == 5
    assert final.values["own"][0, 2, 3] == 6
    assert final.stderr["l2"][0, 2, 3] == 0.5
    assert final.values["l2"][1, 0, 1] == -np.inf
    assert np.isnan(final.values["l2"][~final.done]).all()
    np.testing.assert_array_equal(final.evaluated, final.done)


def test_the_same_run_resumes_another_is_refused(tmp_path: Path) -> None:
    writer = GridWriter(tmp_path / "g.h5", grid(), {})
    writer.write([((0, 1, 1), point(2.0))])
    writer.close()
    again = GridWriter(tmp_path / "g.h5", grid(), {})
    assert again.grid.done.sum() == 1
    again.close()
    with pytest.raises(InputError, match=r"g.h5: expected a file of the same run, found one with seed 0 instead of 1;"):
        GridWriter(tmp_path / "g.h5", grid(seed=1), {})
    assert not lock_path(tmp_path / "g.h5").exists()


def test_a_second_writer_is_refused_with_the_firsts_identity(tmp_path: Path) -> None:
    writer = GridWriter(tmp_path / "g.h5", grid(), {})
    with pytest.raises(InputError, match=f"expected no other writer, found process {os.getpid()} on "):
        GridWriter(tmp_path / "g.h5", grid(), {})
    writer.close()
    GridWriter(tmp_path / "g.h5", grid(), {}).close()
    assert [path.name for path in tmp_path.iterdir()] == ["g.h5"]


def test_damaged_foreign_and_newer_files_are_named(tmp_path: Path) -> None:
    GridWriter(tmp_path / "g.h5", grid(), {}).close()
    whole = (tmp_path / "g.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "text.h5").write_text("no HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["a"] = 1
    for name in ("newer.h5", "part.h5"):
        (tmp_path / name).write_bytes(whole)
    with h5py.File(tmp_path / "newer.h5", "r+") as file:
        file.attrs["format_version"] = 99
    with h5py.File(tmp_path / "part.h5", "r+") as file:
        del file["done"]
    for name, message in {
        "absent.h5": "found none; make one with",
        "cut.h5": "damaged or foreign",
        "text.h5": "damaged or foreign",
        "part.h5": "damaged or foreign",
        "foreign.h5": "an HDF5 file of another kind",
        "newer.h5": "use a newer release",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            read_grid(tmp_path / name)
        assert name in str(caught.value)
        if name != "absent.h5":
            with pytest.raises(InputError, match=message):
                GridWriter(tmp_path / name, grid(), {})
            assert not lock_path(tmp_path / name).exists()


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a folder that can be written"):
        GridWriter(tmp_path / "file" / "g.h5", grid(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def command(checkpoint: Path, out: Path) -> list[str]:
    plane = ("--ckpt", checkpoint, "--x=-1:1:31", "--y=-1:1:21", "--metrics", "l2,own", "--max-samples", 200)
    return ["-m", "landscape.surface", *map(str, (*plane, "--threads", 1, "--out", out))]


@pytest.mark.parametrize("ranks", [0, 2])
def test_resuming_after_a_kill_equals_the_uninterrupted_run(checkpoint: Path, tmp_path: Path, ranks: int) -> None:
    whole, killed = tmp_path / "whole.h5", tmp_path / "killed.h5"
    main(command(checkpoint, whole)[2:])
    launcher = [str(BIN / "mpirun"), "-n", str(ranks)] if ranks else []
    process = subprocess.Popen(
        [*launcher, sys.executable, *command(checkpoint, killed)],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: killed.exists() and read_grid(killed).done.any())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not left_over(killed))
    before = read_grid(killed)
    assert 0 < before.done.sum() < before.done.size
    for name, values in before.values.items():
        np.testing.assert_array_equal(values[before.done], read_grid(whole).values[name][before.done])
    assert run_python(*command(checkpoint, killed), ranks=ranks).returncode == 0
    same_content(whole, killed)
    np.testing.assert_array_equal(before.done & read_grid(killed).done, before.done)


def test_resumed_values_go_to_their_metrics_whatever_the_alphabet(tmp_path: Path) -> None:
    def named() -> Grid:
        made = grid()
        for part in (made.values, made.stderr, made.interpolation_error):
            part["auroc"] = part.pop("l2")  # so: own, auroc
        made.meta["metrics"]["auroc"] = {"transform": "none"}
        return made

    first = GridWriter(tmp_path / "g.h5", named(), {})
    first.write([((0, 1, 1), point(2.0))])
    first.close()
    again = GridWriter(tmp_path / "g.h5", named(), {})
    assert list(again.grid.values) == ["own", "auroc"]
    again.write([((0, 1, 2), point(2.0))])
    again.close()
    final = read_grid(tmp_path / "g.h5")
    for column in (1, 2):
        assert (final.values["own"][0, 1, column], final.values["auroc"][0, 1, column]) == (2, 3)
        assert final.stderr["own"][0, 1, column] == 0.2


def test_a_file_of_an_older_release_has_no_limits_and_goes_on(tmp_path: Path) -> None:
    GridWriter(tmp_path / "g.h5", grid(), {}).close()
    with h5py.File(tmp_path / "g.h5", "r+") as file:
        del file["interpolation_limit"], file["digest"]
    assert np.isnan(read_grid(tmp_path / "g.h5").interpolation_limit["l2"])
    writer = GridWriter(tmp_path / "g.h5", grid(), {})
    values = {name: np.full(writer.grid.shape, 2.0) for name in writer.grid.values}
    writer.write_interpolated(values, {"l2": 0.1, "own": 0.2}, {"l2": 0.3, "own": 0.4})
    writer.close()
    assert writer.grid.interpolation_limit == {"l2": 0.3, "own": 0.4}
    assert read_grid(tmp_path / "g.h5").interpolation_error == {"l2": 0.1, "own": 0.2}


def test_error_and_limit_are_read_back(tmp_path: Path) -> None:
    writer = GridWriter(tmp_path / "g.h5", grid(), {})
    writer.write_errors({"l2": 0.1, "own": 0.2}, {"l2": 0.3, "own": 0.4})
    writer.close()
    found = read_grid(tmp_path / "g.h5")
    assert (found.interpolation_error["own"], found.interpolation_limit["l2"]) == (0.2, 0.3)
    found.save(tmp_path / "copy.h5")
    assert read_grid(tmp_path / "copy.h5").interpolation_limit == {"l2": 0.3, "own": 0.4}


def test_a_run_of_metrics_out_of_the_alphabet_goes_on(tmp_path: Path) -> None:
    def run() -> None:
        words = ["--problem", "tests.problems:quadratic", "--x=-1:1:5", "--metrics", "l2,l1", "--threads", "1"]
        main([*words, "--out", out])

    out = str(tmp_path / "g.h5")
    run()
    whole = read_grid(tmp_path / "g.h5")
    with h5py.File(out, "r+") as file:
        del file["digest"]  # that of a finished file
        for name in ("done", "evaluated"):
            file[name][0, 0, 1::2] = False
        for name in ("metrics/l1", "metrics/l2", "stderr/l1", "stderr/l2"):
            file[name][0, 0, 1::2] = np.nan
    run()
    for name, values in read_grid(tmp_path / "g.h5").values.items():
        np.testing.assert_allclose(values, whole.values[name])
