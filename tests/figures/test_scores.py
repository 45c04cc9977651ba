"""ROC curves and histograms against scikit-learn and hand counts; what is drawn is what scores.csv holds."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from figures import scores
from figures.scores import Scores, bins_of, draw, read_scores, roc, told_apart
from tests.project.test_commands import refused
from training.runtime.command import InputError


def write_run(folder: Path, values: list[float], labels: list[int], loss: str = "l2") -> Path:
    folder.mkdir(exist_ok=True)
    rows = [f"{i},{label},{value}" for i, (label, value) in enumerate(zip(labels, values, strict=True))]
    (folder / "scores.csv").write_text("\n".join(["id,label,score", *rows]) + "\n")
    (folder / "metrics.json").write_text(json.dumps({"config": {"loss": loss}}))
    return folder


def some_run(folder: Path, seed: int = 0, loss: str = "l2", scale: float = 0.01) -> Path:
    rng = np.random.default_rng(seed)
    labels = [0] * 50 + [1] * 80
    return write_run(folder, (scale * rng.gamma(4, 1 + np.array(labels))).tolist(), labels, loss)


@settings(max_examples=60, deadline=None)
@given(
    normal=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    anomalous=st.lists(st.integers(0, 6), min_size=1, max_size=20),
)
def test_the_curve_is_that_of_scikit_learn_and_its_area_the_auroc(normal: list[int], anomalous: list[int]) -> None:
    x, y = roc(np.array(normal, float), np.array(anomalous, float))
    labels, values = [0] * len(normal) + [1] * len(anomalous), normal + anomalous
    false, true, _ = roc_curve(labels, values, drop_intermediate=False)
    np.testing.assert_allclose((x, y), (false, true), atol=1e-12)
    assert np.trapezoid(y, x) == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_a_legend_gives_auroc_and_interval_of_the_scores(tmp_path: Path) -> None:
    runs = [
        read_scores(some_run(tmp_path / name, seed, loss)) for name, seed, loss in (("a", 0, "l2"), ("b", 1, "own"))
    ]
    figure = draw(runs)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert [text.split("\n")[0] for text in texts] == ["L2, a", "own training loss, b"]
    value = roc_auc_score([0] * 50 + [1] * 80, np.concatenate([runs[0].normal, runs[0].anomalous]))
    assert f"{value:.3f} [" in texts[0]
    assert figure.texts == []


def test_histograms_share_bins_and_hold_every_image(tmp_path: Path) -> None:
    runs = [read_scores(some_run(tmp_path / name, i, scale=s)) for i, (name, s) in enumerate((("a", 0.01), ("b", 0.1)))]
    edges, log = bins_of(runs)
    assert log
    assert edges[0] == min(run.normal.min() for run in runs)
    assert edges[-1] == max(run.anomalous.max() for run in runs)
    figure = draw(runs)
    panels = figure.axes[1:]
    assert len(panels) == 2
    for ax in panels:
        for patch in ax.patches:
            values, drawn, _ = patch.get_data()
            np.testing.assert_array_equal(drawn, edges)
            assert values.sum() == pytest.approx(1)
            assert values.max() <= ax.get_ylim()[1]
    assert len({ax.get_ylim() for ax in panels}) == 1
    assert panels[0].get_xscale() == "log"


def test_bins_of_scores_without_logarithms_or_without_a_spread() -> None:
    def run(normal: list[float], anomalous: list[float]) -> Scores:
        return Scores("a", np.array(normal), np.array(anomalous))

    edges, log = bins_of([run([0, 1, 2], [3, 40])])
    assert not log  # 0 has none
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
    assert not bins_of([run([1, 1.1, 2], [3, 4])])[1]  # a factor of 4 reads well without
    assert bins_of([run([1, 1.1, 2], [3, 4])], "log")[1]
    with pytest.raises(InputError, match="--bins log: expected scores above 0, found 0; use --bins linear"):
        bins_of([run([0, 1], [2])], "log")
    for spacing in ("auto", "log"):
        edges, _ = bins_of([run([1, 1], [1])], spacing)
        assert (np.diff(edges) > 0).all()
        assert edges[0] < 1 < edges[-1]


def test_runs_of_other_images_are_drawn_with_a_note(tmp_path: Path) -> None:
    one = read_scores(some_run(tmp_path / "a"))
    other = read_scores(write_run(tmp_path / "b", [1, 2, 3], [0, 1, 1]))
    assert [text.get_text() for text in draw([one, other]).texts] == [
        "Not comparable as they stand: different test images"
    ]


def test_every_format_and_many_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(some_run(tmp_path / f"r{i}", i)) for i in range(8)]
    (tmp_path / "r0" / "metrics.json").unlink()
    for suffix, start in {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}.items():
        out = tmp_path / f"f.{suffix}"
        scores.main([*folders, "--out", str(out)])
        assert capsys.readouterr().out == f"{out}\n"
        assert out.read_bytes().startswith(start)
    text = (tmp_path / "f.svg").read_text()
    assert all(f"r{i}" in text for i in range(8))
    assert "AUROC [95% interval]" in text


def test_runs_of_a_sweep_are_named_by_what_they_differ_in(tmp_path: Path) -> None:
    def names(*folders: str) -> list[str]:
        return [run.name for run in told_apart([read_scores(some_run(tmp_path / folder)) for folder in folders])]

    assert names("normal=3,loss=l2,seed=0", "normal=3,loss=l2,lr=0.1,seed=1") == ["L2,seed=0", "L2,lr=0.1,seed=1"]
    assert names("normal=3,loss=l2", "normal=3,loss=l2-lamp") == ["L2", "L2"]
    assert names("normal=3,loss=l2") == ["L2"]
    assert names("a", "b") == ["L2, a", "L2, b"]


def test_unusable_scores_are_named_in_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    cases = {
        "": "expected id,label,score with labels 0 and 1, as training.train writes",
        "id,label,score\n": "expected normal and anomalous images, found 0 and 0",
        "id,label,score\na,0,1\n": "expected normal and anomalous images, found 1 and 0",
        "id,label,score\na,0,1\nb,2,1\n": "labels 0 and 1",
        "id,label,score\na,0,1\nb,1,x\n": "expected id,label,score",
        "id,label,score\na,0,1\nb,1\n": "expected id,label,score",
        "id,score,label\na,0,1\nb,1,1\n": "expected id,label,score",
        "id,label,score\na,0,1\nb,1,nan\n": "expected finite scores, found 1 that are not",
    }
    run.mkdir()
    for text, message in cases.items():
        (run / "scores.csv").write_text(text)
        with pytest.raises(InputError, match=message) as caught:
            read_scores(run)
        assert str(caught.value).startswith(f"{run / 'scores.csv'}: ")
        assert "\n" not in str(caught.value)
    (run / "scores.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="expected id,label,score"):
        read_scores(run)


def test_bad_input_to_the_command(tmp_path: Path) -> None:
    run, out = some_run(tmp_path / "a"), ("--out", tmp_path / "f.png")
    cases: dict[tuple[object, ...], str] = {
        out: "folders: expected 1 to 8 that training.train wrote, found 0",
        (*[run] * 9, *out): "found 9",
        (tmp_path / "absent", *out): "absent/scores.csv: expected id,label,score",
        (run, "--out", tmp_path / "f.bmp"): "expected a name that ends in .png, .pdf, .svg",
    }
    for options, message in cases.items():
        assert message in refused("figures.scores", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
