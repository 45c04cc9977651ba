"""Tables of sweeps: selection and matching by hand, missing runs, every format, the paper's own figures."""

import csv
import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import pairs, tables
from analysis.paper.cells import Rule, make_cells
from analysis.paper.claims import claims, crossings, first_of
from analysis.paper.printed import (
    paper_categories,
    paper_differences,
    paper_table1,
    paper_table2,
    rising_columns,
    wrong_best,
)
from analysis.paper.tuning import tune
from analysis.rows.matching import (
    best_auroc,
    common_updates,
    first_crossing,
    last,
    least_validation,
    log_ratio_of_curves,
    until_crossing,
    until_updates,
)
from analysis.rows.results import Evaluation, Run, chosen, read_history, read_runs
from analysis.statistics.delong import paired_delong
from analysis.statistics.paired import wins_ties_losses
from tests.made_sweeps import SETTINGS, digit_scores, product, run_name, write_sweep
from training.data.score import auroc
from training.runtime.command import InputError

NAN = math.nan


def evaluations(
    train: list[float], aurocs: list[float] | None = None, validation: list[float] | None = None
) -> list[Evaluation]:
    """One after each of 1, 2, 4, 8, … updates."""
    aurocs = aurocs or [0.5] * len(train)
    validation = validation or [NAN] * len(train)
    return [
        Evaluation(0, 2.0**index, *values, NAN, auroc, NAN, NAN, NAN)
        for index, (*values, auroc) in enumerate(zip(train, validation, aurocs, strict=True))
    ]


def test_each_protocol_selects_its_evaluation() -> None:
    history = evaluations([5, 4, 3, 2], [0.6, 0.9, 0.9, 0.8], [3, NAN, 1, 1])
    assert last(history) is history[3]
    assert best_auroc(history) is history[1]
    assert least_validation(history) is history[2]
    assert least_validation(evaluations([1.0])) is None
    assert last([]) is None
    assert best_auroc(evaluations([1], [NAN])) is None


def test_histories_are_cut_to_a_match() -> None:
    history = evaluations([5, 4, 3, 2])
    assert [at.updates for at in until_updates(history, 5)] == [1, 2, 4]
    assert until_updates(history, 0.5) == []
    assert common_updates([history, history[:2], []]) == 2
    crossing = first_crossing(history, 3.5)
    assert (crossing.index, crossing.censored) == (2, False)
    share = math.log(4 / 3.5) / math.log(4 / 3)  # of the way from the second evaluation to the third
    assert crossing.updates == pytest.approx(2 ** (1 + share))
    left = until_crossing(history, 3.5)
    assert [(at.train_l2, at.updates) for at in left] == [(5, 1), (4, 2), (3.5, crossing.updates)]
    never = first_crossing(history, 1)
    assert (never.updates, never.censored) == (8, True)
    assert list(until_crossing(history, 1)) == []
    assert first_crossing(evaluations([NAN, 1]), 1).updates == 2
    assert first_crossing(history, 3).at == history[2]
    assert first_crossing(history, 9).at == history[0]


def test_equal_fit_is_equal_whatever_the_speed() -> None:
    """Two losses whose AUROC is the same function of the L2, one falling twice as fast: no difference at any fit."""
    auroc = lambda l2: 0.9 - 0.05 * math.log(l2)  # noqa: E731
    slow, fast = ([64 * rate**k for k in range(9)] for rate in (0.7, 0.49))
    histories = [evaluations(values, [auroc(value) for value in values]) for values in (slow, fast)]
    for threshold in (50, 35, 20, 5):
        found = [first_crossing(history, threshold).at for history in histories]
        assert [at.train_l2 for at in found if at] == [threshold] * 2
        for at in found:
            assert at is not None
            assert at.auroc == pytest.approx(auroc(threshold), abs=1e-12)


def test_curves_are_compared_where_both_were_evaluated() -> None:
    base, other = evaluations([8, 4, 2]), evaluations([4, 2])
    assert log_ratio_of_curves(base, other) == pytest.approx(-math.log(2))
    assert math.isnan(log_ratio_of_curves(base, []))
    assert math.isnan(log_ratio_of_curves(evaluations([0.0]), other))


@given(st.floats(1, 100), st.booleans(), st.floats(1, 100), st.booleans())
def test_who_crossed_first_is_antisymmetric(one: float, hidden: bool, two: float, other_hidden: bool) -> None:
    there, back = first_of((one, hidden), (two, other_hidden)), first_of((two, other_hidden), (one, hidden))
    assert there == -back or (math.isnan(there) and math.isnan(back))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three digits, three batch sizes, two seeds; one L2 run failed, one LAMP run was never started."""
    cells = product(normal=[3, 4, 8], batch_size=[1024, 128, 16], loss=["l2", "l2-lamp"], seed=[0, 1])
    absent = {"normal": 4, "batch_size": 16, "loss": "l2-lamp", "seed": 0}
    return write_sweep(
        tmp_path_factory.mktemp("sweep") / "s",
        [cell for cell in cells if cell != absent],
        failed=lambda s: (s["normal"], s["batch_size"], s["loss"], s["seed"]) == (8, 128, "l2", 1),
    )


def rows_of(text: str) -> dict[str, list[str]]:
    """A CSV table's rows by their first cell, without the lines of its title and notes."""
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    return {row[0]: row[1:] for row in csv.reader(io.StringIO("\n".join(lines))) if row}


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    tables.main([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_table1_is_means_of_the_runs(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = rows_of(shown(capsys, "table1", sweep / "results.csv", "--format", "csv"))
    assert table["AUROC, batch size"] == ["1024", "128", "32", "16", "4", "1"]
    assert table["paper: L2"] == ["0.658", "0.919", "0.921", "0.926", "0.931", "0.919"]
    assert table["paper: gain"][0] == "+0.054"
    runs = {(run.task, run.group.batch_size, run.lamp, run.seed): run.last for run in read_runs(sweep / "results.csv")}
    values = np.array([[[runs[t, 1024, lamp, s].auroc for s in (0, 1)] for t in "348"] for lamp in (False, True)])
    assert [table[f"ours: {name}"][0] for name in ("L2", "L2-LAMP")] == [f"{v:.4f}" for v in values.mean(axis=(1, 2))]
    assert table["ours: gain"][0] == f"{(values[1] - values[0]).mean():+.4f}"
    assert table["L2: sd over seeds"][0] == f"{values[0].mean(axis=0).std(ddof=1):.4f} (2 seeds)"
    within = np.mean([runs[t, 1024, False, s].auroc_stderr for t in "348" for s in (0, 1)])
    assert table["L2: standard error within a test set"][0] == f"{within:.4f}"
    assert table["tasks: wins/ties/losses"] == ["3/0/0", "3/0/0", "–", "3/0/0", "–", "–"]
    assert table["tasks: Wilcoxon p"][0] == "0.2500 (n = 3)"
    assert table["missing runs"] == ["0 of 12", "1 of 12", "–", "1 of 12", "–", "–"]


def test_a_task_without_runs_makes_the_mean_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = product(normal=[3, 4], loss=["l2", "l2-lamp"])
    folder = write_sweep(tmp_path, cells, failed=lambda s: s["normal"] == 4 and s["loss"] == "l2")
    table = rows_of(shown(capsys, "table1", folder / "results.csv", "--format", "csv"))
    assert table["ours: L2"][1] == "missing (1 of 2 tasks)"
    assert "missing" not in table["ours: L2-LAMP"][1]
    assert table["ours: gain"][1].endswith("(1 of 2 tasks)")
    text = shown(capsys, "table1", folder / "results.csv", "--by-task", "--format", "csv")
    assert "4,128,l2,adam,0 of 1,missing,–,–" in text
    pairs.main([str(folder), "--out", str(folder / "p"), "--resamples", "100"])
    of_pairs = list(csv.DictReader((folder / "p_pairs.csv").open()))
    assert [(row["task"], row["status"], row["p"] == "") for row in of_pairs] == [
        ("3", "done", False),
        ("4", "l2 failed", True),
    ]
    of_averages = list(csv.DictReader((folder / "p_averages.csv").open()))
    assert {(row["mean"], row["status"]) for row in of_averages} == {("", "missing: no pair of 4")}
    text = shown(capsys, "table1", folder / "results.csv", "--averages", folder / "p_averages.csv", "--format", "csv")
    assert rows_of(text)["gain: 95% interval, images and seeds"][1] == "missing"


def test_every_table_says_how_it_was_made(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for table in ("table1", "table2", "claims"):
        where = ["--where", "batch_size=16"] if table == "table2" else []
        for form in ("markdown", "csv", "latex"):
            text = shown(capsys, table, sweep / "results.csv", "--protocol", "oracle", "--format", form, *where)
            assert "Protocol: oracle (best test AUROC, that is tuning on the test set)." in text
            assert "epochs as trained" in text
            assert "Epochs trained: 4. Seeds: 0, 1. LAMP: maximum over batch, attached, eps 0.001." in text
            assert "they count as missing, not as zero" in text
            assert text.startswith({"markdown": "**", "csv": "# ", "latex": "\\begin{table}"}[form])


def test_protocols_and_matches_change_the_table(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def gains(*options: str) -> dict[str, list[str]]:
        return rows_of(shown(capsys, "table1", sweep / "results.csv", "--format", "csv", *options))

    at_end, oracle, validation = (gains("--protocol", name) for name in ("last", "oracle", "validation"))
    assert float(oracle["ours: L2"][0]) == pytest.approx(float(at_end["ours: L2"][0]) + 0.02, abs=2e-4)
    assert float(validation["ours: L2"][0]) == pytest.approx(float(at_end["ours: L2"][0]) - 0.01, abs=2e-4)
    assert oracle["epoch, mean"][0] == "2"
    early = gains("--epochs", "2")
    assert early["epoch, mean"][0] == "2"
    assert early["ours: L2"][0] == oracle["ours: L2"][0]
    left = gains("--where", "normal!=8")
    assert left["tasks: wins/ties/losses"][0] == "2/0/0"
    with pytest.raises(InputError, match="expected one of 3, 4, 8 to leave out, found 5"):
        gains("--where", "normal!=5")
    updates = gains("--matching", "updates", "--updates", "14")
    assert updates["updates, mean"] == ["4", "14", "–", "–", "–", "–"]
    assert updates["ours: L2"][3] == "missing (0 of 3 tasks)"
    # L2 is 20·exp(-epoch/2) and 20·exp(-3·epoch/4): at most 2 only in LAMP runs, from epoch 4 on
    fit = gains("--matching", "fit", "--threshold", "2")
    assert fit["L2: censored runs"] == ["6", "5", "–", "6", "–", "–"]
    assert fit["L2-LAMP: censored runs"] == ["0", "0", "–", "0", "–", "–"]
    assert fit["ours: gain"][0] == "missing"
    # 3 lies between epochs 3 and 4 of L2, and between 2 and 3 of LAMP; ln L2 is linear in the epoch
    shares = (2 * math.log(20 / 3) - 3, 4 / 3 * math.log(20 / 3) - 2)
    epochs = [first ** (1 - share) * (first + 1) ** share for first, share in zip((3, 2), shares, strict=True)]
    assert gains("--matching", "fit", "--threshold", "3")["epoch, mean"][0] == f"{sum(epochs) / 2:.4g}"


def test_pairs_are_paired_delong_and_tables_use_them(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("results", "history"):
        target = "t.csv" if name == "results" else "t_history.csv"
        (tmp_path / target).write_text((sweep / f"{name}.csv").read_text())
    pairs.main([str(sweep), "--out", str(tmp_path / "t"), "--resamples", "200"])
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "t_averages.csv")
    rows = list(csv.DictReader((tmp_path / "t_pairs.csv").open()))
    assert len(rows) == 18
    assert [row["status"] for row in rows if row["status"] != "done"] == ["l2 failed", "l2-lamp missing"]
    row = next(row for row in rows if (row["task"], row["batch_size"], row["seed"]) == ("3", "128", "1"))
    scores = []
    for loss in ("l2", "l2-lamp"):
        one = SETTINGS | {"normal": 3, "loss": loss, "seed": 1}
        _, labels, values = digit_scores(one, np.random.default_rng(sum(run_name(one).encode())))
        scores.append(values)
    truth = paired_delong(scores[0], scores[1], labels == 1)
    assert float(row["difference"]) == pytest.approx(truth.difference)
    assert float(row["p"]) == pytest.approx(truth.p)
    assert float(row["auroc_lamp"]) == pytest.approx(auroc(scores[1][labels == 0], scores[1][labels == 1]).value)

    table = rows_of(shown(capsys, "table1", tmp_path / "t.csv", "--format", "csv"))
    low, high = map(float, table["gain: 95% interval, images and seeds"][0].split(" to "))
    assert low < float(table["ours: gain"][0]) < high
    assert table["runs: better/worse by paired DeLong"][1].endswith(" of 5")
    oracle = shown(capsys, "table1", tmp_path / "t.csv", "--format", "csv", "--protocol", "oracle")
    assert "gain: 95% interval, images and seeds" not in rows_of(oracle)
    assert "No interval of the means" in oracle


def test_files_of_other_runs_are_refused(sweep: Path, tmp_path: Path) -> None:
    pairs.main([str(sweep), "--out", str(tmp_path / "t"), "--resamples", "100"])
    for name, column in (("pairs", "auroc_base"), ("averages", "mean")):
        path = tmp_path / f"t_{name}.csv"
        rows = list(csv.DictReader(path.open()))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows([row | {column: 0.123} for row in rows])
        with pytest.raises(InputError, match=r"re-make it with python -m analysis.pairs"):
            tables.main(["table1", str(sweep / "results.csv"), f"--{name}", str(path)])


def test_several_readings_of_lamp_must_be_chosen_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = product(loss=["l2"]) + product(loss=["l2-lamp"], lamp_scale=["batch", "sample"])
    path = write_sweep(tmp_path, cells) / "results.csv"
    with pytest.raises(InputError, match=r"differ in lamp_scale; choose with --where lamp_scale=…"):
        tables.main(["table1", "--where", "seed=0", str(path)])
    tables.main(["table1", str(path)])
    assert "| l2-lamp | adam      | sample     |" in capsys.readouterr().out
    tables.main(["table1", "--where", "lamp_scale=sample", "--where", "seed=0", str(path)])
    assert "LAMP: maximum over sample, attached" in capsys.readouterr().out
    kept = chosen(read_runs(path), ["lamp_scale=sample"])
    assert [(run.lamp, run.settings["lamp_scale"]) for run in kept] == [(False, "batch"), (True, "sample")]


def test_table1_wants_one_optimizer_and_table2_one_batch_size(tmp_path: Path) -> None:
    path = write_sweep(tmp_path, product(optimizer=["adam", "sgd"], batch_size=[4, 16])) / "results.csv"
    with pytest.raises(InputError, match="expected one optimizer in this table, found adam, sgd"):
        tables.main(["table1", str(path), "--where", "seed=0"])
    with pytest.raises(InputError, match="expected one batch_size in this table, found 16, 4"):
        tables.main(["table2", str(path), "--where", "seed=0"])


def test_pairs_that_differ_in_more_than_the_loss_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [{"loss": "l2", "lr": 0.01}, {"loss": "l2-lamp"}]
    text = shown(capsys, "table1", write_sweep(tmp_path, cells) / "results.csv")
    assert "Runs of a pair differ in lr as well as in the loss." in text


def test_table2_has_the_papers_rows_and_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = product(
        dataset=["mvtec"],
        category=["bottle", "wood"],
        batch_size=[16],
        loss=["l2", "l2-lamp", "ssim", "ssim-lamp"],
        optimizer=["adam", "sgd"],
        seed=[0, 1],
    )
    folder = write_sweep(tmp_path, cells, failed=lambda s: s["category"] == "wood" and s["loss"] == "ssim")
    pairs.main([str(folder), "--out", str(folder / "results"), "--resamples", "100"])
    capsys.readouterr()
    text = shown(capsys, "table2", folder / "results.csv", "--format", "csv")
    lines = [row for row in csv.reader(io.StringIO(text)) if row and not row[0].startswith("#")]
    assert lines[0][:4] == ["base / LAMP", "whose", "L2 sgd", "L2 rmsprop"]
    assert len(lines[0]) == 12
    (cable,) = [row for row in lines if row[0] == "cable"]
    assert cable[-1] == "0.811 / 0.792 *"
    bottle = [row for row in lines if row[0] == "bottle"]
    assert [row[1] for row in bottle] == ["paper", "ours"]
    assert bottle[1][3] == "–"
    assert bottle[1][2].count("±") == 2
    wood = [row for row in lines if row[0] == "wood"][1]
    assert wood[8].startswith("missing / 0.")
    averages = [row for row in lines if row[0].startswith("average")]
    assert averages[1][2] == "0.994 / 0.988"  # (0.987 + 1.000)/2, (0.983 + 0.994)/2
    assert averages[2][8].startswith("missing (1 of 2) / 0.")
    assert "LAMP wins 63, ties 8, loses 64 (mean +0.0009" in text
    assert "The printed best of bottle and cable is not the maximum of its row" in text
    assert "done without" not in text
    assert "Intervals: missing: no pair of wood." in text


def test_the_papers_figures_show_what_is_doubtful() -> None:
    differences = paper_differences()
    assert len(differences) == 135
    assert str(wins_ties_losses(differences)) == "63/8/64"
    assert np.mean(differences) == pytest.approx(0.0009, abs=5e-5)
    assert wrong_best() == ["bottle", "cable"]
    assert len(paper_categories()) == 15
    averages = [
        cell for (category, base, _), cell in paper_table2().items() if category == "average" and base != "best"
    ]
    assert sum(lamp > base for base, lamp in averages) == 5  # printed; unrounded means of the last column rise too
    assert rising_columns() == 6
    assert paper_table1()[1024] == (0.658, 0.712)


def test_claims_count_what_is_censored(sweep: Path) -> None:
    histories = read_history(sweep / "history.csv")
    cells = make_cells(read_runs(sweep / "results.csv"), histories, Rule(), sweep / "results.csv")
    of_128 = crossings(cells, histories, cells.groups[1], 2)
    assert (of_128.pairs, of_128.censored_base, of_128.censored_lamp) == (5, 5, 0)
    assert of_128.signs.tolist() == [1, 1, 1]
    assert of_128.ratios == []
    both = crossings(cells, histories, cells.groups[0], 3)
    shares = (2 * math.log(20 / 3) - 3, 4 / 3 * math.log(20 / 3) - 2)  # of the way from epoch 3 to 4, from 2 to 3
    base, lamp = (first ** (1 - share) * (first + 1) ** share for first, share in zip((3, 2), shares, strict=True))
    assert both.ratios == pytest.approx([lamp / base] * 6, rel=1e-6)  # files have six digits
    neither = crossings(cells, histories, cells.groups[0], 0.1)
    assert (neither.censored_base, neither.censored_lamp) == (6, 6)
    assert np.isnan(neither.signs).all()
    convergence, trend, variance = claims(cells, histories, 2)
    assert convergence.rows[2][3].startswith("-0.625")
    assert convergence.rows[2][6:10] == ["5", "5", "0", "–"]
    assert [len(row) == len(convergence.rows[0]) for row in convergence.rows] == [True] * 4
    assert trend.rows[1][2] == "16 128 1024"
    assert trend.rows[1][-2] == "3 of 3"
    assert variance.rows[1][3:5] == ["0.010", "0.500"]
    assert variance.rows[2][6:8] == ["5 of 5", "0 of 6"]
    assert len(claims(cells, histories)[0].rows[0]) == 6


def test_settings_are_tuned_by_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = product(normal=[3, 4], loss=["l2", "l2-lamp"], lr=[0.001, 0.01], seed=[0, 1])
    failed = {("3", "l2", 0.001, 1)}
    folder = write_sweep(tmp_path, cells, failed=lambda s: (str(s["normal"]), s["loss"], s["lr"], s["seed"]) in failed)
    runs = read_runs(folder / "results.csv")
    kept = tune(runs, ["lr"], "oracle", lambda run: run.trouble or run.last)
    assert len(kept) == 8
    assert {run.settings["lr"] for run in kept if run.task == "3" and not run.lamp} == {"0.01"}  # the complete one
    for task, lamp in (("4", False), ("3", True), ("4", True)):
        of_cell = [run for run in runs if (run.task, run.lamp) == (task, lamp)]
        means = {lr: np.mean([r.last.auroc for r in of_cell if r.settings["lr"] == lr]) for lr in ("0.001", "0.01")}
        best = {run.settings["lr"] for run in kept if (run.task, run.lamp) == (task, lamp)}
        assert best == {max(means, key=lambda lr: means[lr])}
    with pytest.raises(InputError, match=r"two that differ in lr; choose with --where lr=…"):
        tables.main(["table1", str(folder / "results.csv"), "--where", "normal=3"])
    pairs.main([str(folder), "--tune", "lr", "--out", str(folder / "results"), "--resamples", "100"])
    text = shown(capsys, "table1", folder / "results.csv", "--tune", "lr")
    assert "Tuned for each task, loss and column: lr (0.001, 0.01), by best test AUROC" in text
    assert "gain: 95% interval" in text
    by_validation = ["--tune", "lr", "--tune-by", "validation"]
    assert "is of other runs (--tune lr --tune-by oracle)" in shown(
        capsys, "table1", folder / "results.csv", *by_validation
    )
    pairs.main([str(folder), *by_validation, "--out", str(folder / "results"), "--resamples", "100"])
    assert "by least held-out L2" in shown(capsys, "table1", folder / "results.csv", *by_validation)
    with pytest.raises(InputError, match="--tune size: expected a setting of the runs"):
        tables.main(["table1", str(folder / "results.csv"), "--tune", "size"])


def test_what_a_task_is_called() -> None:
    def task(**settings: str) -> str:
        return Run("", settings, "", evaluations([1.0])[0]).task

    assert task(dataset="mnist-mini", normal="3", category="bottle") == "3"
    assert task(dataset="mvtec", normal="0", category="bottle") == "bottle"
    assert task(dataset="folder", train_dir="a/b", category="bottle") == "b"
