"""The command analysis.relate: its table, notes, files, and what it refuses."""

import csv
import io
import json
from pathlib import Path

import pytest

from analysis.relate import main
from tests.made_measures import MEASURES, design, write_measures
from training.runtime.command import command

pytestmark = pytest.mark.filterwarnings("error")
QUICK = ("--resamples", "100", "--permutations", "99")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_measures(tmp_path / "s.csv", MEASURES, design(digits=range(5)))


def test_the_table_says_what_the_long_one_holds(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = results.with_name("deep") / "relate.csv"
    main([str(results), *QUICK, "--format", "csv", "--out", str(out)])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(out)
    lines = [line for line in printed.splitlines()[:-1] if not line.startswith("#")]
    header, *rows = list(csv.reader(lines))
    assert [row[0] for row in rows] == [name for name in MEASURES if ":" not in name]
    with out.open() as file:
        long = {(row["measure"], row["statistic"]): row for row in csv.DictReader(file)}
    row = rows[1]
    assert row[header.index("n")] == long["trace@l2", "spearman"]["n"] == "90"
    for name, statistic in (
        ("within digit", "spearman_within"),
        ("within digit and loss", "spearman_within_loss"),
        ("seed alone", "seed_alone"),
        ("granulated Kendall", "granulated:mean"),
    ):
        found, place = long["trace@l2", statistic], header.index(name)
        assert row[place] == f"{float(found['value']):+.2f}"
        assert header[place + 1] == "95% seeds"
        assert row[place + 1] == f"{float(found['low']):+.2f} to {float(found['high']):+.2f}"
        assert header[place + 2].startswith("95% digits")
        assert row[place + 2] == f"{float(found['digits_low']):+.2f} to {float(found['digits_high']):+.2f}"
    tested = long["trace@l2", "seed_alone"]
    assert float(row[header.index("p")]) == pytest.approx(float(tested["p"]), abs=0.005)
    assert float(tested["p_corrected"]) >= float(tested["p"])
    assert long["trace@l2", "spearman_within"]["p"] == ""
    assert set(rows[4][2:]) == {"—"}  # the constant measure
    assert "# — constant@l2, spearman: it is the same for all checkpoints." in printed
    assert "Corrected: for the 5 measures here" in printed


def test_other_forms(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = results.with_name("t.md")
    main([str(results), *QUICK, "--measures", "@own", "--out", str(out)])
    printed = capsys.readouterr().out
    assert out.read_text() + f"{out}\n" == printed
    assert printed.startswith("**Sharpness against AUROC: 90 checkpoints, 5 digits**")
    main([str(results), *QUICK, "--format", "latex"])
    assert r"\begin{tabular}" in capsys.readouterr().out
    main([str(results), *QUICK, "--json", "--out", str(results.with_name("j.csv"))])
    found = json.load(io.StringIO(capsys.readouterr().out))
    constant = [row for row in found["relations"] if row["measure"] == "constant@l2"]
    assert {row["value"] for row in constant} == {None}
    assert any("Westfall" in note for note in found["notes"])
    assert results.with_name("j.csv").is_file()


def test_notes_say_what_was_given_and_permuted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measures = MEASURES | {"auroc_radius@l2": lambda cell, g: cell["auroc"] + 0.01 * g.normal()}
    path = str(write_measures(tmp_path / "r.csv", measures, design(digits=range(5))))
    own, made = "differences of units", "Made of AUROC itself, and so not tested: auroc_radius@l2."
    main([path, *QUICK])
    text = capsys.readouterr().out
    for words in ("given training L2, batch size and loss:", "batch sizes and losses are never exchanged", own, made):
        assert words in text
    assert "3 training seeds: of what a seed does to all digits alike, no permutation of seeds can give a p" in text
    assert "below 0.17, so that p leaves it out" in text
    assert "flatter for radius_double, radius_level, area_double, area_level, lambda_min, auroc_radius" in text
    main([path, *QUICK, "--where", "loss=l2", "--where", "batch_size=32", "--measures", "half_curvature", "trace"])
    text = capsys.readouterr().out
    assert "Partial: given training L2: " in text
    assert "within digit and loss" not in text.lower()
    assert own not in text
    assert made not in text


def test_few_digits_or_seeds_are_cautioned_of(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {
        ("normal!=0",): "4 digits: so few clusters make intervals over digits too narrow",
        ("normal=1",): "One digit: intervals are over its training seeds alone",
        ("seed=1",): "One training seed: no interval over seeds, no p; those of 95% digits and seeds are over digits",
        ("seed!=1",): "Two training seeds: 95% seeds is Student's with one degree of freedom",
        ("normal=1", "seed=1"): "one digit and one seed leave nothing to resample",
    }
    for conditions, note in expected.items():
        main([str(results), *QUICK, *(word for condition in conditions for word in ("--where", condition))])
        assert note in capsys.readouterr().out


def test_signs_are_turned_in_the_table_and_kept_in_the_file(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = results.with_name("r.csv")
    tables = []
    for options in ((), ("--sharper-up",)):
        main([str(results), *QUICK, "--format", "csv", "--out", str(out), *options])
        lines = capsys.readouterr().out.splitlines()
        tables.append(({line.split(",")[0]: line.split(",") for line in lines if "@" in line[:20]}, out.read_text()))
    (plain, kept), (turned, again) = tables
    assert kept == again
    assert list(turned) == [name.replace("lambda_min@l2", "−lambda_min@l2") for name in plain]
    assert float(turned["−lambda_min@l2"][2]) == -float(plain["lambda_min@l2"][2])
    assert turned["trace@l2"] == plain["trace@l2"]


def test_bad_input_is_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = results.read_text()
    (results.with_name("word.csv")).write_text(text.replace(",4.0,", ",four,", 1))
    cases = {
        (results.with_name("absent.csv"),): "absent.csv: expected what analysis.sharpness writes",
        (results, "--where", "sea=3"): "--where sea=3: expected name=value with a setting of the runs",
        (results, "--measures", "area"): "--measures area: expected names among",
        (results, "--resamples", "5"): "--resamples: expected at least 100, found 5",
        (results, "--permutations", "5"): "--permutations: expected at least 99, found 5",
        (results, "--seed", "-1"): "--seed: expected at least 0, found -1",
        (results, "--where", "normal=1", "--where", "seed=0", "--where", "loss=l2"): "expected at least 4 checkpoints",
        (results.with_name("word.csv"),): "line 2: expected a number as constant@l2, found 'four'",
        (results, *QUICK, "--out", results.parent): "expected the name of a file, found a folder",
    }
    for options, message in cases.items():
        assert command(main)([str(option) for option in options]) == 2, options
        shown = capsys.readouterr()
        assert message in shown.err
        assert len(shown.err.splitlines()) == 1
        assert shown.out == ""
