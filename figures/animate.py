"""`python -m figures.animate`: the training trajectory over the contours, checkpoint by checkpoint, as a GIF."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from matplotlib.animation import PillowWriter
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text

from figures import trajectory
from figures.parts.paths import draw_paths, path_legend
from figures.parts.style import use_style
from figures.parts.surface import complete_part
from landscape.files.grid import Grid, read_grid
from training.runtime.command import InputError, command, make_parent, parse, whole_file

DESCRIPTION = """Animate the training trajectory over the contours of a surface, one frame a checkpoint.

Example: python -m figures.animate path.h5 --out path.gif"""

MOST_FRAMES = 60  # of a longer trajectory evenly spaced checkpoints are shown: a small file
HOLD = 1.5  # seconds that the last frame stays


@dataclass(frozen=True)
class Arguments:
    surface: Annotated[Path, tyro.conf.Positional]
    """A grid file computed with --trajectory (or with a folder of checkpoints as --mark)."""
    out: Path
    """The animation: .gif."""
    metric: str = ""
    """Which metric; the first in the file if none is named."""
    height: Literal["log", "linear"] = "log"
    """Scale of the levels."""
    fps: int = 8
    """Frames a second, from 1 to 50."""
    dpi: int = 100
    """Pixels an inch, from 40 to 300: the frames are 5.2 inches wide."""


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(Arguments, argv, "figures.animate", DESCRIPTION)
    check_arguments(arguments)
    use_style()
    grid = complete_part(read_grid(arguments.surface))
    save_frames(grid, arguments)
    print(arguments.out)


def check_arguments(arguments: Arguments) -> None:
    """Raise InputError for a name that is no GIF's, or for frames too fast or too large."""
    if arguments.out.suffix != ".gif":
        raise InputError(f"--out {arguments.out}: expected a name that ends in .gif, found {arguments.out.suffix!r}")
    make_parent(arguments.out, "an animation (GIF)")
    for name, low, high in (("fps", 1, 50), ("dpi", 40, 300)):
        if not low <= getattr(arguments, name) <= high:
            raise InputError(f"--{name}: expected {low:g} to {high:g}, found {getattr(arguments, name):g}")


def frames_of(count: int) -> list[int]:
    """How many checkpoints each frame shows: 1, …, `count`, thinned evenly to at most MOST_FRAMES.

    >>> frames_of(3), len(frames_of(1000)), frames_of(1000)[-1]
    ([1, 2, 3], 60, 1000)
    """
    return np.unique(np.linspace(1, count, min(count, MOST_FRAMES)).round().astype(int)).tolist()


def save_frames(grid: Grid, arguments: Arguments) -> None:
    """Write the animation whole or not at all. The contours are drawn once; what moves is drawn for each frame."""
    source = str(arguments.surface)
    trajectory.check_paths(grid, source)
    count = max(len(track.updates) for track in grid.paths.values())
    if count < 2:
        raise InputError(
            f"{source}: expected a trajectory of several checkpoints, found single models; draw figures.trajectory"
        )
    figure = trajectory.draw(grid, source, arguments.metric, arguments.height)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # where things are now they stay
    writer = PillowWriter(fps=arguments.fps)
    with whole_file(arguments.out) as temporary, writer.saving(figure, str(temporary), arguments.dpi):
        frames = frames_of(count)
        for until in [*frames, *frames[-1:] * round(HOLD * arguments.fps)]:
            show(figure, grid, until)
            writer.grab_frame()


def labels_of(lines: QuadContourSet) -> list[Text]:
    """The labels of contours, which stay."""
    return list(getattr(lines, "labelTexts", []))


def show(figure: Figure, grid: Grid, until: int) -> None:
    """Leave the contours and draw the first `until` models of each path anew."""
    ax = figure.axes[0]
    limits = ax.get_xlim(), ax.get_ylim()
    levels = [text for lines in ax.collections if isinstance(lines, QuadContourSet) for text in labels_of(lines)]
    for artist in [*ax.lines, *(text for text in ax.texts if text not in levels)]:
        artist.remove()
    draw_paths(ax, grid, until)
    path_legend(ax)
    ax.set(xlim=limits[0], ylim=limits[1])


if __name__ == "__main__":
    raise SystemExit(command(main)())
