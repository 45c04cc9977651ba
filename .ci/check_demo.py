"""What `make demo` wrote, looked into: `python .ci/check_demo.py FOLDER POINTS`; ends at what is wrong."""

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np

from landscape import read_grid

LOSSES, SEEDS = ("l2", "l2-lamp"), range(5)


def check(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"demo: expected {what}")


def check_grid(path: Path, points: int, train_l2: float) -> str:
    grid = read_grid(path)
    for axis in (grid.x, grid.y):
        check(np.allclose(axis.values, np.linspace(-1, 1, points)), f"{points} points from -1 to 1 in {path}")
    check(set(grid.values) == {"l2", "own"}, f"the metrics l2 and own in {path}, found {sorted(grid.values)}")
    check(grid.meta["identity"]["adaptive"] == 0.01, f"--adaptive 0.01 in {path}")
    check(bool(grid.done.all()), f"all points done in {path}")
    share = float(grid.evaluated.mean())
    check(0.05 < share < 0.9, f"a part of the points evaluated in {path}, found {share:.2f}")
    for name, values in grid.values.items():
        check(bool(np.isfinite(values).all() and (values > 0).all()), f"finite losses above 0 as {name} in {path}")
    middle = grid.values["l2"][0, points // 2, points // 2]
    check(np.isclose(middle, train_l2, rtol=1e-4), f"L2 {train_l2} at the model in {path}, found {middle}")
    check(middle < np.median(grid.values["l2"]) / 2, f"a basin around the model in {path}")
    return f"{path.name}: {points}x{points}, {share:.0%} evaluated, L2 {middle:.2f} at the model"


def main(folder: Path, points: int) -> None:
    with (folder / "runs" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = sorted((row["loss"], int(row["seed"]), row["status"]) for row in rows)
    check(
        found == [(loss, seed, "done") for loss in LOSSES for seed in SEEDS], f"five runs of each loss, found {found}"
    )
    aurocs = {loss: [float(row["auroc"]) for row in rows if row["loss"] == loss] for loss in LOSSES}
    for loss, values in aurocs.items():
        check(all(0.8 < value < 1 for value in values), f"an AUROC of 0.8 to 1 with {loss}, found {values}")
        check(len(set(values)) == len(SEEDS), f"seeds that differ with {loss}, found {values}")
        run = next(row["run"] for row in rows if row["loss"] == loss and row["seed"] == "0")
        metrics = json.loads((folder / "runs" / run / "metrics.json").read_text())
        print(check_grid(folder / f"{loss}.h5", points, metrics["train_l2"]))
    table = (folder / "auroc.md").read_text()
    means = [float(text) for text in re.findall(r"\| ([\d.]+) ± [\d.]+ +\| [\d.]+ to", table)]
    check(len(means) == 2, f"a mean and its spread for each loss in auroc.md, found {means}")
    for mean, values in zip(means, aurocs.values(), strict=True):
        check(np.isclose(mean, np.mean(values), atol=1e-4), f"{np.mean(values):.4f} in auroc.md, found {mean}")
    for name in ("fig1.png", "fig2.png"):
        check((folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", f"a picture {name}")
    print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
