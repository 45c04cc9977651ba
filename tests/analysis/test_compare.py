"""Two groups of checkpoints: pairing, differences against worked answers and scipy, the command."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.compare import main
from analysis.relation.differences import Difference, Pairs, differences, group, pair, sharper_up
from analysis.relation.measured import read_checkpoints
from tests.made_measures import MEASURES, Measure, design, write_measures
from training.runtime.command import InputError, command

pytestmark = pytest.mark.filterwarnings("error")


def level(cell: dict) -> float:
    """A positive number of the cell without the loss."""
    return 2.0 + cell["normal"] + 0.1 * cell["seed"] ** 2 + math.log2(cell["batch_size"]) * (1 + 0.1 * cell["seed"])


KNOWN: dict[str, Measure] = {
    "double@l2": lambda cell, g: level(cell) * (2 if cell["loss"] == "l2-lamp" else 1),
    "more@l2": lambda cell, g: -3 + (cell["loss"] == "l2-lamp") * (0.5 + 0.1 * cell["seed"]),
    "alone@l2": lambda cell, g: g.normal() if cell["loss"] == "l2" else "",
}


def pairs_of(path: Path, a: str = "loss=l2", b: str = "loss=l2-lamp", free: tuple[str, ...] = ()) -> Pairs:
    return pair(read_checkpoints(path), [a], [b], free)


def compare(path: Path, **options) -> dict[str, Difference]:
    return {one.measure: one for one in differences(pairs_of(path, **options), resamples=500)}


def test_differences_with_known_answers(tmp_path: Path) -> None:
    found = compare(write_measures(tmp_path / "s.csv", KNOWN))
    double, more = found["double@l2"], found["more@l2"]
    levels = [level(cell) for cell in design(losses=["l2"])]
    assert double.mean_a == pytest.approx(np.mean(levels))
    assert double.difference == pytest.approx(np.mean(levels))
    assert double.ratio == pytest.approx((2, 2, 2))
    assert double.ratio_bootstrap == pytest.approx((2, 2))
    assert (double.pairs, double.digits, str(double.signs)) == (90, 10, "10/0/0")
    assert double.p == pytest.approx(2 / 2**10)  # all of ten digits one way
    assert double.bootstrap[0] < double.difference < double.bootstrap[1]
    assert more.difference == pytest.approx(0.6)
    of_seed = [0.5, 0.6, 0.7]
    half = stats.t.ppf(0.975, 2) * stats.sem(of_seed)
    assert (more.student.low, more.student.high) == pytest.approx((0.6 - half, 0.6 + half))
    assert math.isnan(more.ratio[0])  # negative values have no ratio
    # The standard deviation between seeds is 0 in A and 0.1 in B.
    unit = math.sqrt(0.1**2 / 2)
    assert more.standardized == pytest.approx((0.6 / unit, (0.6 - half) / unit, (0.6 + half) / unit))


def test_a_measure_that_one_group_lacks_and_ones_missing_here_and_there(tmp_path: Path) -> None:
    measures = KNOWN | {"gap@l2": lambda cell, g: "" if cell["normal"] == 3 else math.inf if cell["normal"] == 4 else 1}
    found = compare(write_measures(tmp_path / "s.csv", measures))
    assert (found["alone@l2"].pairs, found["alone@l2"].why) == (0, "no pair has finite values of it")
    assert math.isnan(found["alone@l2"].difference)
    gap = found["gap@l2"]
    assert (gap.pairs, gap.digits, gap.difference, gap.p) == (72, 8, 0, 1)
    assert gap.bootstrap == (0, 0)


def test_digits_count_alike_whatever_their_pairs(tmp_path: Path) -> None:
    cells = [cell for cell in design(digits=[0, 1]) if cell["normal"] == 0 or cell["batch_size"] == 32]
    measures = {"digit@l2": lambda cell, g: (1.0 + 2 * cell["normal"]) * (cell["loss"] == "l2-lamp")}
    found = compare(write_measures(tmp_path / "s.csv", measures, cells))["digit@l2"]
    assert found.pairs == 12
    assert found.difference == 2  # of 1 and 3
    assert found.mean_b == 2
    assert (found.student.mean, found.student.low) == (2, 2)


def test_pairs_agree_in_all_else(tmp_path: Path) -> None:
    path = write_measures(tmp_path / "s.csv", KNOWN, design()[:-1])
    pairs = pairs_of(path)
    for one, other in zip(pairs.a.runs, pairs.b.runs, strict=True):
        assert (one.settings["loss"], other.settings["loss"]) == ("l2", "l2-lamp")
        assert one.settings | {"loss": ""} == other.settings | {"loss": ""}
    assert len(pairs.a.runs) == 89
    assert pairs.notes == ["Left out, without a partner of equal settings: 1 of A, 0 of B."]
    assert len(set(pairs.cells.tolist())) == 30
    batches = pairs_of(path, "batch_size=32", "batch_size=512")
    assert len(batches.a.runs) == 59


def test_lamp_options_and_free_settings_do_not_part_pairs(tmp_path: Path) -> None:
    cells = [
        cell | ({"lamp_scale": "none", "lr": 0.003} if cell["loss"] == "l2-lamp" else {})
        for cell in design(digits=[0, 1])
    ]
    path = write_measures(tmp_path / "s.csv", KNOWN, cells)
    with pytest.raises(InputError, match=r"found none; they differ in lr; let it differ with --free lr"):
        pairs_of(path)
    assert len(pairs_of(path, free=("lr",)).a.runs) == 18


def test_checkpoints_that_never_reached_the_fit_are_left_out(tmp_path: Path) -> None:
    cells = [cell | {"until_l2": 8.0, "train_l2": 7.9} for cell in design(digits=[0, 1])]
    cells[0] |= {"train_l2": 8.1}  # of L2
    cells[1] |= {"train_l2": 8.00000001}  # rounding
    cells[5] |= {"train_l2": 20.0}  # of LAMP
    cells[4] |= {"train_l2": 20.0, "until_l2": 0.0}  # no fit was asked for
    pairs = pairs_of(write_measures(tmp_path / "s.csv", KNOWN, cells), free=("until_l2",))
    assert pairs.notes[0] == "Left out, train_l2 above until_l2: 1 of A, 1 of B."
    assert len(pairs.a.runs) == 18 - 2
    assert pairs.notes[1:] == ["Left out, without a partner of equal settings: 1 of A, 1 of B."]
    never = [cell | {"until_l2": 8.0, "train_l2": 9.0} for cell in cells]
    with pytest.raises(InputError, match="expected checkpoints that reached the fit of until_l2, found none"):
        pairs_of(write_measures(tmp_path / "n.csv", KNOWN, never))


def test_noise_of_auroc_is_that_of_its_standard_errors(tmp_path: Path) -> None:
    cells = [cell | {"auroc_stderr": 0.003 if cell["loss"] == "l2" else 0.004} for cell in design()]
    found = compare(write_measures(tmp_path / "s.csv", KNOWN, cells))["auroc"].spread
    assert found.noise == pytest.approx(0.005**2)
    assert 0 < found.noise_share < 1
    assert math.isnan(compare(write_measures(tmp_path / "n.csv", KNOWN))["auroc"].spread.noise_share)


def test_groups_that_cannot_be_compared(tmp_path: Path) -> None:
    path = write_measures(tmp_path / "s.csv", KNOWN, design(digits=[0, 1]))
    with pytest.raises(InputError, match="expected two groups without a common checkpoint, found 6 that are in both"):
        pairs_of(path, "loss=l2", "batch_size=32")
    with pytest.raises(InputError, match="--b loss=l1: expected loss among l2, l2-lamp, found none that fits"):
        pairs_of(path, b="loss=l1")
    with pytest.raises(InputError, match="--a sea=1: expected name=value with a setting"):
        pairs_of(path, a="sea=1")
    apart = [cell for cell in design(digits=[0]) if (cell["seed"] == 0) == (cell["loss"] == "l2")]
    with pytest.raises(InputError, match="they differ in seed; measure checkpoints of the same training seeds"):
        pairs_of(write_measures(tmp_path / "a.csv", KNOWN, apart))
    assert len(pairs_of(path, "seed=0", "seed=1").a.runs) == 12
    twice = write_measures(tmp_path / "t.csv", KNOWN, [*design(digits=[0]), design(digits=[0])[0]])
    with pytest.raises(InputError, match="--a: expected one checkpoint of this group for each pair, found two"):
        pairs_of(twice)
    several = write_measures(
        tmp_path / "w.csv", KNOWN, [cell | {"width": w} for cell in design(digits=[0]) for w in (8, 16)]
    )
    with pytest.raises(InputError, match=r"differ in width; choose with --where width=…"):
        pairs_of(several, free=("width",))
    data = read_checkpoints(path)
    assert group(data, ["loss=l2", "batch_size!=32"], "--a") == [
        i for i, cell in enumerate(design(digits=[0, 1])) if cell["loss"] == "l2" and cell["batch_size"] != 32
    ]


@pytest.mark.parametrize("seeds", [2, 3])
def test_intervals_hold_the_truth_often_enough(tmp_path: Path, seeds: int) -> None:
    """Differences of 1 with what a seed does to all digits: Student's holds it in 95% of made-up sweeps, and leads;
    the bootstrap's does not."""
    generator, misses, of_bootstrap = np.random.default_rng(0), 0, 0
    cells = design(batches=[32], seeds=range(seeds))
    pairs = pairs_of(write_measures(tmp_path / "s.csv", {"x@l2": lambda cell, g: 0.0}, cells))
    codes, count = pairs.a.seed_codes(), 10 * seeds
    for _ in range(100):
        effect = 1 + generator.normal(size=seeds)[codes] + 0.5 * generator.normal(size=count)
        pairs.a.values["x@l2"], pairs.b.values["x@l2"] = np.zeros(count), effect
        found = next(one for one in differences(pairs, 100) if one.measure == "x@l2")
        misses += not found.student.low <= 1 <= found.student.high
        of_bootstrap += not found.bootstrap[0] <= 1 <= found.bootstrap[1]
    most = stats.binom.ppf(0.999, 100, 0.05)
    assert misses <= most < of_bootstrap


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.0, 0.001, -0.001), "no difference (equivalent within 0.01)"),
        ((0.030, 0.031, 0.032), "difference"),
        ((0.02, -0.01, 0.005), "undecided"),
        ((0.004, 0.016), "undecided"),  # with one degree of freedom
    ],
)
def test_what_is_said_of_auroc(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], gains: tuple[float, ...], said: str
) -> None:
    cells = [
        cell | {"auroc": 0.8 + 0.01 * cell["normal"] + gains[cell["seed"]] * (cell["loss"] == "l2-lamp")}
        for cell in design(digits=range(4), seeds=range(len(gains)))
    ]
    path, out = write_measures(tmp_path / "s.csv", KNOWN, cells), tmp_path / "c.csv"
    main([str(path), "--a", "loss=l2", "--b", "loss=l2-lamp", "--resamples", "100", "--out", str(out)])
    assert f"AUROC: {said}; two one-sided t tests over {len(gains)} seeds within ±0.01" in capsys.readouterr().out
    with out.open() as file:
        rows = {row["measure"]: row for row in csv.DictReader(file)}
    assert rows["auroc"]["verdict"] == said
    assert rows["double@l2"]["verdict"] == rows["double@l2"]["margin"] == ""
    low, high = stats.ttest_1samp(gains, 0).confidence_interval()
    assert (float(rows["auroc"]["low"]), float(rows["auroc"]["high"])) == pytest.approx((low, high))


def test_signs_are_turned_where_smaller_is_sharper(tmp_path: Path) -> None:
    measures = {"radius_double@l2": KNOWN["double@l2"], "trace@l2": KNOWN["double@l2"]}
    found = compare(write_measures(tmp_path / "s.csv", measures))
    radius, trace = found["radius_double@l2"], found["trace@l2"]
    turned = sharper_up(radius)
    assert sharper_up(trace) is trace
    assert turned.difference == -radius.difference
    assert (turned.student.low, turned.student.high) == (-radius.student.high, -radius.student.low)
    assert turned.bootstrap == (-radius.bootstrap[1], -radius.bootstrap[0])
    assert turned.ratio == pytest.approx((0.5, 0.5, 0.5))
    assert str(turned.signs) == "0/0/10"
    assert sharper_up(turned).standardized == radius.standardized


def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_measures(tmp_path / "s.csv", KNOWN | {"double@l2:stderr": lambda cell, g: 0.1}, design(digits=[1, 2]))
    out = tmp_path / "compare.csv"
    groups = [str(path), "--a", "loss=l2", "--b", "loss=l2-lamp", "--resamples", "100"]
    main([*groups, "--out", str(out), "--precision", "0.5"])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(out)
    assert printed.startswith("**A: loss=l2; B: loss=l2-lamp: 18 pairs, 2 digits, 3 seeds**")
    with out.open() as file:
        rows = {row["measure"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["auroc", "train_l2", *KNOWN]
    assert float(rows["more@l2"]["difference"]) == pytest.approx(0.6)
    assert (rows["double@l2"]["ratio"], rows["more@l2"]["ratio"], rows["alone@l2"]["difference"]) == ("2.0", "", "")
    line = next(line for line in printed.splitlines() if line.startswith("| more@l2"))
    assert [text.strip() for text in line.split("|")][3:6] == ["-3", "-2.4", "0.6"]
    assert (
        "more@l2: noise of measurement is not known (no standard errors); the interval over 3 seeds is ±41%" in printed
    )
    assert "double@l2: noise of measurement is at most" in printed
    assert "an upper bound, about twice too large where both were measured along the same directions" in printed
    assert "differences of units" not in printed  # no measure @own
    main([*groups, "--json"])
    found = json.loads(capsys.readouterr().out)["differences"]
    assert found[-1]["difference"] is None
    main([*groups, "--where", "seed=1", "--where", "normal=1"])
    text = capsys.readouterr().out
    assert "— 95% seeds: one training seed." in text
    assert "AUROC: undecided; 1 training seed that all cells have, two are needed." in text
    assert "— bootstrap: one digit and one seed leave nothing to resample." in text


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_measures(tmp_path / "s.csv", MEASURES, design(digits=[1, 2]))
    groups = (path, "--a", "loss=l2", "--b", "loss=l2-lamp")
    cases = {
        (*groups, "--margin", "0"): "--margin: expected a difference of AUROC above 0, below 1, found 0",
        (*groups, "--precision", "0"): "--precision: expected a share above 0, at most 1, found 0",
        (*groups, "--resamples", "9"): "--resamples: expected at least 100, found 9",
        (*groups, "--seed", "-1"): "--seed: expected at least 0, found -1",
        (*groups, "--measures", "area"): "--measures area: expected names among",
        (tmp_path / "absent.csv", *groups[1:]): "absent.csv: expected what analysis.sharpness writes",
        (*groups, "--out", tmp_path): "expected the name of a file, found a folder",
    }
    for options, message in cases.items():
        assert command(main)([str(option) for option in options]) == 2
        shown = capsys.readouterr()
        assert message in shown.err
        assert len(shown.err.splitlines()) == 1
        assert shown.out == ""
