"""What averages were made of is recorded with them, and a table that chooses nothing is of the same runs."""

import csv
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import pairs, tables
from analysis.paper.selection import Selection, parse_selection, select, stored_selection
from analysis.rows.results import read_runs
from tests.conftest import ROOT
from tests.made_sweeps import product, write_sweep
from training.runtime.command import InputError

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=3).map(tuple)


@settings(deadline=None)
@given(where=WORDS, tune=WORDS, by=st.sampled_from(["oracle", "validation"]))
def test_a_selection_is_read_back_from_its_text(where: tuple[str, ...], tune: tuple[str, ...], by: str) -> None:
    selection = Selection(where, tune, by if tune else "oracle")
    assert parse_selection(str(selection), "file") == selection


@pytest.mark.parametrize("text", ["--where", "normal!=8", "--tune lr --tune-by luck", "--out x", "'"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"a\.csv: expected options --where, --tune and --tune-by as selection"):
        parse_selection(text, "a.csv")


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_shipped_averages_say_what_they_are_of(name: str) -> None:
    """The pairs beside them, of the same call, name every run: an account of their own."""
    selection = stored_selection(ROOT / "results" / f"{name}_averages.csv")
    assert selection
    runs = select(read_runs(ROOT / "results" / f"{name}.csv"), selection, lambda run: run.trouble or run.last)
    with (ROOT / "results" / f"{name}_pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {run.name for run in runs} == {row[half] for row in rows for half in ("run_base", "run_lamp")}


def rows_and_notes(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[list[str], list[str]]:
    tables.main([str(argument) for argument in (*arguments, "--format", "csv")])
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if not line.startswith("# ")], [line for line in lines if line.startswith("# ")]


@pytest.mark.parametrize(
    "options", [["--where", "normal!=8"], ["--tune", "lr"], ["--where", "seed=0", "--tune", "lr"], []]
)
def test_a_plain_table_is_of_the_averaged_runs(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lrs = [0.001, 0.01] if "--tune" in options else [0.001]
    folder = write_sweep(tmp_path / "s", product(normal=[3, 8], loss=["l2", "l2-lamp"], seed=[0, 1], lr=lrs))
    results = folder / "results.csv"
    pairs.main([str(folder), *options, "--out", str(folder / "results"), "--resamples", "100"])
    capsys.readouterr()
    explicit, _ = rows_and_notes(capsys, "table1", results, *options)
    plain, notes = rows_and_notes(capsys, "table1", results)
    assert plain == explicit
    assert any("95% interval" in row for row in plain)
    assert any(note.startswith("# Runs: those that results_averages.csv is of") for note in notes) == bool(options)
    early, _ = rows_and_notes(capsys, "table1", results, "--epochs", "2")
    assert early == rows_and_notes(capsys, "table1", results, "--epochs", "2", *options)[0]


def test_averages_of_other_runs_are_left_out_with_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_sweep(tmp_path / "s", product(normal=[3, 4, 8], loss=["l2", "l2-lamp"]))
    results, averages = folder / "results.csv", folder / "results_averages.csv"
    pairs.main([str(folder), "--where", "normal!=8", "--out", str(folder / "results"), "--resamples", "100"])
    capsys.readouterr()
    for choice in (["--where", "normal=3"], ["--all-runs"]):
        rows, notes = rows_and_notes(capsys, "table1", results, *choice)
        assert not any("95% interval, images and seeds" in row for row in rows)
        left_out = "# results_averages.csv is of other runs (--where 'normal!=8'), so its intervals are left out."
        assert left_out in notes
        with pytest.raises(InputError, match="expected averages of the table's runs, found those of --where"):
            tables.main(["table1", str(results), *choice, "--averages", str(averages)])


def test_averages_that_do_not_say_what_they_are_of_are_held_against_the_runs(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", product(normal=[3, 4, 8], loss=["l2", "l2-lamp"]))
    pairs.main([str(folder), "--where", "normal!=8", "--out", str(folder / "results"), "--resamples", "100"])
    averages = folder / "results_averages.csv"
    with averages.open(newline="") as file:
        rows = [row[:-1] for row in csv.reader(file)]
    with averages.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    assert stored_selection(averages) is None
    with pytest.raises(InputError, match="expected a mean gain of"):
        tables.main(["table1", str(folder / "results.csv")])
    tables.main(["table1", str(folder / "results.csv"), "--where", "normal!=8"])


def test_what_no_column_tells_apart_is_a_row_for_each_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = product(loss=["l2", "l2-lamp"], lr=[0.001, 0.01], seed=[0, 1], optimizer=["adam", "sgd"])
    folder = write_sweep(tmp_path / "s", cells)
    rows, notes = rows_and_notes(capsys, "table1", folder / "results.csv")
    runs = read_runs(folder / "results.csv")
    assert rows[0] == "task,batch size,loss,optimizer,lr,seeds,mean AUROC,sd over seeds"
    assert len(rows) == 1 + len(runs) / 2
    for row in csv.DictReader(rows):
        found = [
            run.last.auroc
            for run in runs
            if all(run.settings[name] == row[name] for name in ("loss", "optimizer", "lr"))
        ]
        assert row["seeds"] == "2 of 2"
        assert float(row["mean AUROC"]) == pytest.approx(sum(found) / 2, abs=5.1e-5)
        assert float(row["sd over seeds"]) == pytest.approx(abs(found[0] - found[1]) / 2**0.5, abs=5.1e-5)
    assert any("differ in lr, which no column tells apart" in note for note in notes)


@pytest.mark.parametrize("name", ["table1", "table1_lr", "table2", "ablation", "twins", "sharpness", "fig3"])
@pytest.mark.parametrize("table", ["table1", "table2"])
def test_the_plain_command_shows_what_is_shipped(
    name: str, table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / "results", tmp_path / "results")
    rows, _ = rows_and_notes(capsys, table, tmp_path / "results" / f"{name}.csv")
    assert len(rows) > 4


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_the_plain_command_gives_the_shipped_table(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tables.main([name, str(ROOT / "results" / f"{name}.csv")])
    shown = capsys.readouterr().out.splitlines()
    told = [line for line in shown if not line.startswith("- Runs: those that")]
    assert len(told) == len(shown) - 1
    assert told == (ROOT / "results" / f"{name}.md").read_text().splitlines()
