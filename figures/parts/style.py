"""What all figures share: fonts and sizes for print, the colour-blind-safe map, names, saving."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from training.runtime.command import InputError, make_parent, whole_file

PAGE = 7.0  # inches, both columns
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito (2008), safe for the colour-blind
MAP = "viridis"
#: suffix of a figure -> what :mod:`training.runtime.kinds` calls it
SUFFIXES = {suffix: f"a figure ({suffix[1:].upper()})" for suffix in (".png", ".pdf", ".svg")}

LABELS = {
    "l2": "L2",
    "l1": "L1",
    "ssim": "SSIM",
    "l2-lamp": "L2-LAMP",
    "l1-lamp": "L1-LAMP",
    "ssim-lamp": "SSIM-LAMP",
    "l4": "L4",
    "l4-lamp": "L4-LAMP",
    "focal": "focal",
    "focal-lamp": "focal-LAMP",
    "own": "own training loss",
    "auroc": "AUROC",
    "gap": "gap of median scores",
}


def use_style() -> None:
    """Set matplotlib for print: 8-point text, thin lines, vector text kept as text, no window."""
    mpl.use("Agg")
    mpl.rcParams.update(
        {
            "font.size": 8,
            "axes.titlesize": 8,
            "axes.labelsize": 8,
            "xtick.labelsize": 7,
            "ytick.labelsize": 7,
            "legend.fontsize": 7,
            "axes.linewidth": 0.6,
            "lines.linewidth": 1.2,
            "savefig.dpi": 150,
            "svg.fonttype": "none",
            "svg.hashsalt": "landscape",
            "pdf.fonttype": 42,
        }
    )


def label(name: str) -> str:
    """A metric or loss as it is written in figures, such as `L2-LAMP` or `L2 (test-anomalous)`."""
    base, _, over = name.partition("@")
    return LABELS.get(base, base) + (f" ({over})" if over else "")


def check_out(path: Path) -> None:
    """Raise InputError unless `path` has a suffix that figures can be written in and its folder can be made."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}, found {path.suffix!r}")
    make_parent(path, SUFFIXES[path.suffix])


def as_it_stands(figure: Figure) -> None:
    """Draw texts with dollar signs that are no formulas, such as names from a file, as they are."""
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text.get_text().count("$") > 1:
            try:
                MathTextParser("path").parse(text.get_text())
            except ValueError:
                text.set_parse_math(False)


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the format of its suffix, whole or not at all, without dates: same input, same file."""
    metadata: dict[str, Any] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
    as_it_stands(figure)
    with whole_file(path) as temporary:
        figure.savefig(temporary, bbox_inches="tight", pad_inches=0.04, metadata=metadata)
