"""What ranks must have in common: messages, and the digest of the code."""

from pathlib import Path

from training.runtime import agreement
from training.runtime.agreement import agree, code, difference_of, digest_of_files, modules_of


def test_one_process_agrees_with_itself() -> None:
    agree(None, {"seed": 0}, "")


def test_alike_ranks_have_no_difference() -> None:
    assert difference_of([{"a": "1"}, {"a": "1"}]) == ""


def test_the_message_names_ranks_and_facts() -> None:
    digests = ["a" * 64, "b" * 64]
    assert difference_of([{"weights": digests[0], "x": "1"}, {"weights": digests[1], "x": "1"}]) == (
        f"rank 1: expected what rank 0 has, found weights {'b' * 12}… instead of {'a' * 12}…"
    )
    others = [{"x": "2", "y": "z" * 100}] * 5
    assert difference_of([{"x": "1"}, {"x": "1"}, *others]) == (
        f"ranks 2, 3, 4 and 2 more: expected what rank 0 has, found x 2 instead of 1, y {'z' * 59}… instead of none"
    )


def test_the_digest_of_code_is_of_names_and_contents(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1")
    first = digest_of_files([("a.py", tmp_path / "a.py")])
    assert digest_of_files([("a.py", tmp_path / "b.py")]) == first
    assert digest_of_files([("b.py", tmp_path / "a.py")]) != first
    (tmp_path / "a.py").write_text("x = 2")
    assert digest_of_files([("a.py", tmp_path / "a.py")]) != first


def test_the_code_is_all_modules_of_the_packages_that_compute() -> None:
    names = [name for name, _ in modules_of(agreement.PACKAGES)]
    assert {"training/runtime/farm.py", "landscape/surface.py", "analysis/measures/ascent.py"} <= set(names)
    assert {"code", "Python", "torch", "numpy"} <= set(code())
