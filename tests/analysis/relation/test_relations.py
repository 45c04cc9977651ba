"""Relations of made-up checkpoints whose answers are known, against scipy, and what is said where there is none."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.relation.measured import Checkpoints, read_checkpoints
from analysis.relation.relations import (
    COLUMNS,
    Relation,
    hyperparameters,
    read_relations,
    relations,
    sharper_up,
    statistics,
)
from tests.made_measures import MEASURES, design, write_measures
from training.runtime.command import InputError

pytestmark = pytest.mark.filterwarnings("error")


def relate(path: Path, **options) -> dict[tuple[str, str], Relation]:
    checkpoints = read_checkpoints(path)
    found = relations(checkpoints, **({"resamples": 200, "permutations": 199} | options))
    return {(relation.measure, relation.statistic): relation for relation in found}


def test_statistics_are_scipys_and_have_the_right_sign(tmp_path: Path) -> None:
    path = write_measures(tmp_path / "s.csv", MEASURES)
    data, found = read_checkpoints(path), relate(path)
    y, tasks, losses = data.values["auroc"], data.task_codes(), np.array(data.setting("loss"))
    for measure in ("half_curvature@l2", "trace@l2", "half_curvature@own"):
        x = data.values[measure]
        assert found[measure, "spearman"].value == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found[measure, "kendall"].value == pytest.approx(stats.kendalltau(x, y).statistic)
        for name, truth in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
            within = np.mean([truth(x[tasks == task], y[tasks == task]).statistic for task in range(10)])
            assert found[measure, f"{name}_within"].value == pytest.approx(within)
        parts = [(tasks == task) & (losses == loss) for task in range(10) for loss in ("l2", "l2-lamp")]
        within = np.mean([stats.spearmanr(x[rows], y[rows]).statistic for rows in parts])
        assert found[measure, "spearman_within_loss"].value == pytest.approx(within)
        for statistic in ("spearman", "spearman_within", "spearman_within_loss", "partial_within", "granulated:mean"):
            relation = found[measure, statistic]
            assert relation.low < relation.value < relation.high
            assert relation.digits_low < relation.value < relation.digits_high
            assert relation.n == 180
    strong, none = (found[name, "spearman_within_loss"] for name in ("half_curvature@l2", "trace@l2"))
    assert strong.digits_high < -0.4
    assert strong.high < 0
    assert none.low < 0 < none.high
    assert math.isnan(none.p)
    strong, none = (found[name, "seed_alone"] for name in ("half_curvature@l2", "trace@l2"))
    assert strong.p == strong.p_corrected == 1 / 200
    assert none.p_corrected >= none.p > 0.05


def test_granulated_kendall_is_the_loop_over_the_design(tmp_path: Path) -> None:
    path = write_measures(tmp_path / "s.csv", MEASURES)
    data, found = read_checkpoints(path), relate(path)
    x, y = data.values["trace@l2"], data.values["auroc"]
    assert sorted(hyperparameters(data)) == ["batch_size", "loss"]  # the seed is none
    psis = {}
    for name, statistic in (
        ("batch_size", "granulated:batch_size"),
        ("loss", "granulated:loss"),
        ("seed", "seed_alone"),
    ):
        groups: dict[tuple, list[int]] = {}
        for row, cell in enumerate(design()):
            groups.setdefault(tuple(value for key, value in cell.items() if key != name), []).append(row)
        taus = [stats.kendalltau(x[rows], y[rows]).statistic for rows in groups.values()]  # without ties a = b
        psis[name] = np.mean(taus)
        assert found["trace@l2", statistic].value == pytest.approx(psis[name])
        assert found["trace@l2", statistic].n == len(groups)
    mean = (psis["batch_size"] + psis["loss"]) / 2
    assert found["trace@l2", "granulated:mean"].value == pytest.approx(mean)
    assert mean != pytest.approx((mean * 2 + psis["seed"]) / 3)


def test_difficulty_of_digits_and_undertraining_are_told_from_sharpness(tmp_path: Path) -> None:
    """A measure of the digit relates to AUROC pooled, not within digits; one of the training loss not when given it."""
    cells = [cell | {"train_l2": 10.0 + number % 7} for number, cell in enumerate(design())]
    cells = [cell | {"auroc": 0.7 + 0.02 * cell["normal"] - 0.004 * cell["train_l2"]} for cell in cells]
    generator = np.random.default_rng(0)
    cells = [cell | {"auroc": cell["auroc"] + 0.004 * generator.normal()} for cell in cells]
    measures = {
        "digit@l2": lambda cell, g: cell["normal"] + g.normal(),
        "fit@l2": lambda cell, g: cell["train_l2"] + 2 * g.normal(),
    }
    found = relate(write_measures(tmp_path / "s.csv", measures, cells))
    assert found["digit@l2", "spearman"].digits_low > 0.5
    assert found["digit@l2", "spearman_within"].low < 0 < found["digit@l2", "spearman_within"].high
    assert found["digit@l2", "seed_alone"].p > 0.05
    assert found["fit@l2", "spearman_within"].high < -0.3
    assert abs(found["fit@l2", "partial_within"].value) < 0.15
    assert found["fit@l2", "partial_within"].digits_low < 0 < found["fit@l2", "partial_within"].digits_high


def test_a_difference_between_losses_is_no_relation_within_them(tmp_path: Path) -> None:
    """AUROC and the measure both differ between losses, and have nothing else in common."""
    cells = design(seeds=range(4))
    generator = np.random.default_rng(1)
    cells = [c | {"auroc": 0.8 + 0.05 * (c["loss"] == "l2") + 0.01 * generator.normal()} for c in cells]
    measures = {"x@own": lambda cell, g: 10.0 * (cell["loss"] == "l2") + g.normal()}
    path = write_measures(tmp_path / "s.csv", measures, cells)
    found = relate(path)
    assert found["x@own", "spearman_within"].low > 0.5  # the difference
    within_loss, partial = found["x@own", "spearman_within_loss"], found["x@own", "partial_within"]
    assert within_loss.low < 0 < within_loss.high
    assert found["x@own", "seed_alone"].p > 0.05
    assert abs(found["x@own", "partial"].value) < 0.2
    assert partial.low < 0 < partial.high
    # The residuals of ranks on training L2, batch size and the loss, by least squares.
    data = read_checkpoints(path)
    loss = (np.array(data.setting("loss")) == "l2").astype(float)
    batches = np.array(data.setting("batch_size"), float)
    given = [stats.rankdata(data.values["train_l2"]), stats.rankdata(batches), loss]
    matrix = np.stack([np.ones(len(loss)), *given], axis=1)
    ranks = np.stack([stats.rankdata(data.values[name]) for name in ("x@own", "auroc")], axis=1)
    left = ranks - matrix @ np.linalg.lstsq(matrix, ranks, rcond=None)[0]
    assert found["x@own", "partial"].value == pytest.approx(np.corrcoef(left.T)[0, 1])
    alone = relate(write_measures(tmp_path / "l2.csv", measures, [c for c in cells if c["loss"] == "l2"]))
    assert ("x@own", "spearman_within_loss") not in alone
    assert 0 < alone["x@own", "seed_alone"].p <= 1


def test_what_is_made_of_auroc_is_shown_but_not_tested(tmp_path: Path) -> None:
    made = {"auroc_radius@l2": lambda cell, g: cell["auroc"] + 0.001 * g.normal()}
    both = relate(write_measures(tmp_path / "s.csv", MEASURES | made))
    without = relate(write_measures(tmp_path / "w.csv", MEASURES))
    assert both["auroc_radius@l2", "spearman_within_loss"].value > 0.8
    assert all(math.isnan(row.p) for (name, _), row in both.items() if name == "auroc_radius@l2")
    assert both["trace@l2", "seed_alone"].p_corrected <= 1
    assert list(without) == [key for key in both if key[0] != "auroc_radius@l2"]


def test_partial_correlations_need_three_rows_more_than_covariates(tmp_path: Path) -> None:
    """Six checkpoints a digit and three covariates are enough, five are not; given batch size too few there already."""
    measures = {"x@l2": lambda cell, g: g.normal()}
    cells = design(digits=range(4), seeds=[0])  # 3 batch sizes × 2 losses
    enough = relate(write_measures(tmp_path / "s.csv", measures, cells))
    assert not math.isnan(enough["x@l2", "partial_within"].value)
    fewer = relate(write_measures(tmp_path / "f.csv", measures, [c for i, c in enumerate(cells) if i % 6]))
    assert "or there are too few rows" in fewer["x@l2", "partial_within"].why
    assert not math.isnan(fewer["x@l2", "spearman_within"].value)
    assert not math.isnan(fewer["x@l2", "partial"].value)  # of 20


def test_infinite_radii_are_ranked_above_all_others(tmp_path: Path) -> None:
    """Every coefficient, interval and p is that of a finite value above all others in the place of inf."""
    found = [
        relate(
            write_measures(
                tmp_path / f"{highest}.csv",
                {"r@l2": lambda cell, g, top=highest: top if cell["quality"] > 1 else cell["quality"] + g.normal()},
                design(digits=range(4)),
            )
        )
        for highest in (math.inf, 1e6)
    ]
    assert str(found[0]) == str(found[1])
    assert not any(math.isnan(row.value) or math.isnan(row.low) for row in found[0].values())


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    path = write_measures(tmp_path / "s.csv", MEASURES, design(digits=range(3)))
    # NaN is not equal to itself, its text is
    assert str(relate(path)) == str(relate(path))
    assert str(relate(path)) != str(relate(path, seed=1))


def test_measures_that_say_nothing_say_why(tmp_path: Path) -> None:
    measures = MEASURES | {
        "seldom@l2": lambda cell, g: 3.0 if cell["normal"] == 0 and cell["seed"] == 0 and cell["loss"] == "l2" else "",
        "endless@l2": lambda cell, g: math.inf if cell["quality"] > 0 else -cell["quality"],
    }
    found = relate(write_measures(tmp_path / "s.csv", measures))
    for statistic in statistics(["loss", "batch_size"], within_loss=True):
        assert found["constant@l2", statistic].why == "it is the same for all checkpoints"
        assert found["seldom@l2", statistic].why == "fewer than 4 checkpoints have it"
        assert math.isnan(found["seldom@l2", statistic].value)
    assert "leave nothing of it" in found["of_fit@l2", "partial"].why
    assert found["endless@l2", "spearman_within"].value > 0.4  # ranks can be had of infinite values
    assert math.isnan(found["constant@l2", "seed_alone"].p)


def test_missing_rows_leave_the_others_as_they_are(tmp_path: Path) -> None:
    missing = MEASURES | {"trace@l2": lambda cell, g: "" if cell["seed"] == 2 else cell["quality"] ** 3}
    found = relate(write_measures(tmp_path / "s.csv", missing))
    whole, tested = found["trace@l2", "spearman_within_loss"], found["trace@l2", "seed_alone"]
    assert (whole.n, whole.value) == (120, pytest.approx(1))
    assert (tested.n, tested.value, tested.p) == (60, pytest.approx(1), 1 / 200)  # cells of two seeds
    assert found["half_curvature@l2", "spearman"].n == 180


def test_without_training_loss_there_is_no_partial_correlation(tmp_path: Path) -> None:
    cells = [cell | {"train_l2": ""} for cell in design(digits=range(3))]
    measures = {"trace@l2": lambda cell, g: cell["quality"] + g.normal()}
    found = relate(write_measures(tmp_path / "s.csv", measures, cells))
    for statistic in ("partial", "partial_within"):
        assert math.isnan(found["trace@l2", statistic].value)
        assert found["trace@l2", statistic].why == "fewer than 4 checkpoints have it and what it needs"
    assert found["trace@l2", "spearman_within"].low > 0


def test_one_digit_one_seed(tmp_path: Path) -> None:
    one = relate(write_measures(tmp_path / "a.csv", MEASURES, design(digits=[3])))
    assert one["trace@l2", "spearman"].value == one["trace@l2", "spearman_within"].value
    assert one["trace@l2", "spearman"].low < one["trace@l2", "spearman"].high  # over seeds
    assert math.isnan(one["trace@l2", "granulated:mean"].digits_low)
    assert math.isnan(one["trace@l2", "seed_alone"].p)
    alone = relate(write_measures(tmp_path / "b.csv", MEASURES, design(digits=[3], seeds=[0])))
    assert not math.isnan(alone["trace@l2", "spearman"].value)
    assert math.isnan(alone["trace@l2", "spearman"].low)
    with pytest.raises(InputError, match="expected at least 4 checkpoints with an AUROC, found 3"):
        relate(write_measures(tmp_path / "c.csv", MEASURES, design(digits=[3], seeds=[0])[:3]))
    same = [cell | {"auroc": 0.5} for cell in design(digits=[1, 2])]
    with pytest.raises(InputError, match=r"expected AUROCs that differ, found 0\.5 for all 36"):
        relate(write_measures(tmp_path / "d.csv", MEASURES, same))


def test_settings_that_go_together_are_set_free(tmp_path: Path) -> None:
    cells = [cell | {"lr": 0.001 if cell["loss"] == "l2" else 0.003} for cell in design(digits=[0, 1])]
    path = write_measures(tmp_path / "s.csv", MEASURES, cells)
    tied, freed = relate(path), relate(path, free=["lr"])
    assert tied["trace@l2", "granulated:loss"].why == "no two checkpoints with it differ in loss alone"
    assert freed["trace@l2", "granulated:loss"].n == 2 * 3 * 3
    assert ("trace@l2", "granulated:lr") not in freed
    with pytest.raises(InputError, match="--free sea: expected a setting"):
        relate(path, free=["sea"])


def test_failed_rows_and_rows_without_auroc_are_counted(tmp_path: Path) -> None:
    cells = design(digits=range(3))
    cells[0] |= {"status": "failed", "auroc": ""}
    cells[1] |= {"auroc": ""}
    cells[2] |= {"auroc": "nan"}
    data = read_checkpoints(write_measures(tmp_path / "s.csv", MEASURES, cells))
    assert len(data.runs) == 51
    assert data.notes == ["Left out: checkpoints 1 failed, 2 without AUROC."]
    nothing = [cell | {"auroc": ""} for cell in cells]
    with pytest.raises(InputError, match="expected checkpoints that are done and have an AUROC, found 54"):
        read_checkpoints(write_measures(tmp_path / "n.csv", MEASURES, nothing))


def test_measures_are_chosen_by_name_and_loss(tmp_path: Path) -> None:
    path = write_measures(tmp_path / "s.csv", MEASURES)

    def named(*names: str) -> list[str]:
        return read_checkpoints(path, measures=names).measures

    assert named() == [name for name in MEASURES if ":" not in name]
    assert named("half_curvature") == ["half_curvature@l2", "half_curvature@own"]
    assert named("@own", "trace@l2") == ["trace@l2", "half_curvature@own"]
    data = read_checkpoints(path)
    assert set(data.stderr) == {"half_curvature@l2"}
    with pytest.raises(InputError, match="--measures trace@own: expected names among half_curvature@l2"):
        named("trace@own")
    with pytest.raises(InputError, match="expected columns of measures such as half_curvature@l2, found none"):
        read_checkpoints(write_measures(tmp_path / "none.csv", {}))


def test_the_long_table_is_read_back(tmp_path: Path) -> None:
    from analysis.relate import long_table

    data: Checkpoints = read_checkpoints(write_measures(tmp_path / "s.csv", MEASURES, design(digits=range(2))))
    found = relations(data, resamples=100, permutations=99)
    (tmp_path / "r.csv").write_text(long_table(found))
    again = read_relations(tmp_path / "r.csv")
    for one, other in zip(found, again, strict=True):
        ours = [value for name, value in vars(one).items() if name != "why"]
        theirs = [value for name, value in vars(other).items() if name != "why"]
        assert str(ours) == str(theirs)
    (tmp_path / "r.csv").write_text(",".join(COLUMNS) + "\na@l2,spearman,x,,,,,,,3\n")
    with pytest.raises(InputError, match="line 2: expected a number as value, found 'x'"):
        read_relations(tmp_path / "r.csv")


def test_two_seeds_have_no_interval_of_what_differs_between_them_alone(tmp_path: Path) -> None:
    found = relate(write_measures(tmp_path / "s.csv", MEASURES, design(seeds=range(2))))
    alone = found["half_curvature@l2", "seed_alone"]
    assert math.isnan(alone.low)
    assert alone.digits_low < alone.value < alone.digits_high < 0
    assert alone.p == 1 / 200
    within = found["half_curvature@l2", "spearman_within_loss"]
    assert within.low <= within.value <= within.high  # with one degree of freedom


def test_what_seeds_and_batch_sizes_do_to_all_digits_is_no_evidence(tmp_path: Path) -> None:
    """A seed and a batch size that have more of the measure and of AUROC everywhere: one case of each, not sixty."""
    of_batch = {32: 2.0, 128: 1.0, 512: 0.0}
    generator = np.random.default_rng(2)
    cells = [
        cell | {"auroc": 0.8 + 0.01 * (3 * cell["seed"] + of_batch[cell["batch_size"]] + 0.5 * generator.normal())}
        for cell in design(seeds=range(2))
    ]
    measures = {"x@l2": lambda cell, g: 3 * cell["seed"] + of_batch[cell["batch_size"]] + 0.5 * g.normal()}
    found = relate(write_measures(tmp_path / "s.csv", measures, cells))
    assert found["x@l2", "seed_alone"].value > 0.9
    assert found["x@l2", "spearman_within_loss"].value > 0.9
    ps = [row.p for row in found.values() if not math.isnan(row.p)]
    assert all(p > 0.05 for p in ps)


def test_seeds_left_out_are_those_of_the_rows_left_out(tmp_path: Path) -> None:
    """Student's from coefficients of the checkpoints without each seed, computed as if there were no others."""
    path = write_measures(tmp_path / "s.csv", {"trace@l2": MEASURES["trace@l2"]})
    data, found = read_checkpoints(path), relate(path)
    seeds, alone = data.seed_codes(), []
    for seed in range(3):
        rows = relations(data.taken(np.flatnonzero(seeds != seed)), resamples=100, permutations=99)
        alone.append({row.statistic: row.value for row in rows if row.measure == "trace@l2"})
    for statistic in (
        "spearman",
        "kendall_within",
        "partial_within",
        "seed_alone",
        "granulated:loss",
        "granulated:mean",
    ):
        without = [of[statistic] for of in alone]
        half = stats.t.ppf(0.975, 2) * math.sqrt(2 / 3 * np.var(without) * 3)
        relation = found["trace@l2", statistic]
        limits = max(relation.value - half, -1), min(relation.value + half, 1)
        assert (relation.low, relation.high) == pytest.approx(limits)


def test_signs_are_turned_where_smaller_is_sharper() -> None:
    radius = Relation("radius_double@l2", "spearman", 0.3, 0.1, 0.6, -0.2, 0.7, 0.01, 0.02, 9)
    turned = sharper_up(radius)
    assert vars(turned) == vars(radius) | {
        "value": -0.3,
        "low": -0.6,
        "high": -0.1,
        "digits_low": -0.7,
        "digits_high": 0.2,
    }
    assert sharper_up(turned) == radius
    curvature = Relation("trace@own", "spearman", 0.3, 0.1, 0.6)
    assert sharper_up(curvature) is curvature
