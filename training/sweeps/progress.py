"""The progress of a sweep: runs done, running, left and failed, and when it is expected to end."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from tqdm import tqdm

from training.sweeps.cost import estimated_seconds
from training.sweeps.plan import PlannedRun
from training.sweeps.record import Records, State


class Progress:
    """A bar on the root's terminal; quiet elsewhere, and where stderr is none."""

    def __init__(self, records: Records, left: Sequence[PlannedRun], enabled: bool):
        self.records = records
        self.left = left
        self.start = time.monotonic()
        self.bar = tqdm(
            desc=str(records.folder),
            total=len(records.runs),
            initial=len(records.runs) - len(left) if enabled else 0,
            unit="run",
            disable=None if enabled else True,
            bar_format="{desc}: {n_fmt}/{total_fmt} runs {bar} {postfix}",
        )

    def update(self) -> None:
        if self.bar.disable:
            return
        self.bar.n = len(self.records.runs) - self.records.count(State.LEFT)
        self.bar.set_postfix_str(self.text())

    def text(self) -> str:
        """Such as `running 20, left 60, failed 1, expected end 14:05`."""
        running = self.records.running()
        parts = [f"running {running}", f"left {self.records.count(State.LEFT) - running}"]
        if failed := self.records.count(State.FAILED):
            parts.append(f"failed {failed}")
        if end := self.expected_end():
            today = end - datetime.now() < timedelta(hours=20)
            parts.append(f"expected end {end:%H:%M}" if today else f"expected end {end:%Y-%m-%d %H:%M}")
        return ", ".join(parts)

    def expected_end(self) -> datetime | None:
        """By the estimated cost of what was done since the start and of what is left; None before the first run."""
        costs = {run.name: estimated_seconds(run.config) for run in self.left}
        done = sum(costs[run.name] for run in self.left if self.records.state(run) is not State.LEFT)
        if not done:
            return None
        rate = (time.monotonic() - self.start) / done
        return datetime.now() + timedelta(seconds=rate * (sum(costs.values()) - done))

    def close(self) -> None:
        self.update()
        self.bar.close()
