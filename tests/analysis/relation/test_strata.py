"""Strata and covariates of made-up checkpoints, against the settings that they were made with."""

from pathlib import Path

import numpy as np

from analysis.relation.measured import read_checkpoints
from analysis.relation.strata import WITHIN, WITHIN_LOSS, covariates, forms, listed, loss_codes
from analysis.statistics.clusters import draw_clusters
from tests.made_measures import MEASURES, design, write_measures


def test_covariates_are_those_that_vary(tmp_path: Path) -> None:
    cells = design(digits=[0, 1], losses=["l2", "l1", "l2-lamp"])
    data = read_checkpoints(write_measures(tmp_path / "s.csv", MEASURES, cells))
    found = covariates(data)
    assert list(found) == ["training L2", "batch size", "loss"]
    np.testing.assert_array_equal(found["training L2"][0], data.values["train_l2"])
    assert found["batch size"][0].tolist() == [cell["batch_size"] for cell in cells]
    # An indicator for each loss but the first, l1.
    indicators = [[float(cell["loss"] == loss) for cell in cells] for loss in ("l2", "l2-lamp")]
    assert [column.tolist() for column in found["loss"]] == indicators
    alone = design(digits=[0], losses=["l2"], batches=[32])
    assert list(covariates(read_checkpoints(write_measures(tmp_path / "a.csv", MEASURES, alone)))) == ["training L2"]


def test_strata_part_all_checkpoints_by_digit_and_loss(tmp_path: Path) -> None:
    cells = design(digits=[0, 1, 2])
    data = read_checkpoints(write_measures(tmp_path / "s.csv", MEASURES, cells))
    draws = draw_clusters(data.task_codes(), data.seed_codes(), 20, np.random.default_rng(0))
    found = forms(data, draws)
    expected = {
        "": {frozenset(range(54))},
        WITHIN: {frozenset(i for i, c in enumerate(cells) if c["normal"] == d) for d in range(3)},
        WITHIN_LOSS: {
            frozenset(i for i, c in enumerate(cells) if (c["normal"], c["loss"]) == (d, loss))
            for d in range(3)
            for loss in ("l2", "l2-lamp")
        },
    }
    assert list(found) == list(expected)
    for form, (itself, resampled, without) in found.items():
        assert {frozenset(rows.tolist()) for rows in itself.rows} == expected[form]
        np.testing.assert_array_equal(itself.pooled(), np.ones((1, 54)))  # every checkpoint once
        assert resampled is not None
        np.testing.assert_array_equal(resampled.pooled(), draws.pooled())
        assert without is not None
        left_out = [[float(c["seed"] != seed) for c in cells] for seed in range(3)]
        np.testing.assert_array_equal(without.pooled(), left_out)
    alone = data.taken(np.flatnonzero(loss_codes(data) == 0))
    assert list(forms(alone, None)) == ["", WITHIN]


def test_names_as_a_sentence_has_them() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
