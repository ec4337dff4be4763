"""One style for all figures: readable in grey and by colour-blind eyes, the same bytes every time."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metagrad import files

# it doubts the date in every font that it embeds, on every figure; nothing here can change that date
logging.getLogger("fontTools.ttLib.tables._h_e_a_d").setLevel(logging.ERROR)

# Okabe and Ito's colours, ordered so that neighbours differ in lightness as well
COLOURS = ("#000000", "#D55E00", "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
WIDTH = 7.2  # inches: the text width of a page

_RC = {
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "svg.hashsalt": "metagrad",
    "pdf.fonttype": 42,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the project."""
    with mpl.rc_context(_RC):
        yield


def new_figure(rows: int = 1, columns: int = 1, height: float = 3.2, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of the text width and its axes."""
    return plt.subplots(rows, columns, figsize=(WIDTH, height), layout="constrained", **options)


def theory(axes: Axes, x: Any, y: Any, index: int, **options: Any) -> Any:
    """Draw theory: a line, with the colour and dashes of `index`."""
    return axes.plot(x, y, color=COLOURS[index], linestyle=LINES[index], **options)[0]


def measured(axes: Axes, x: Any, y: Any, index: int, interval: Any = None, **options: Any) -> Any:
    """Draw measurements: open points with the colour and marker of `index`, and intervals (low, high) where given."""
    look = {"color": COLOURS[index], "marker": MARKERS[index], "markerfacecolor": "white", "linestyle": "none"}
    if interval is None:
        return axes.plot(x, y, **look, zorder=3, **options)[0]
    spread = np.abs(np.stack([np.asarray(y) - interval[0], np.asarray(interval[1]) - y]))
    return axes.errorbar(x, y, yerr=spread, **look, capsize=2, elinewidth=0.9, zorder=3, **options)


def save(figure: Figure, stem: Path) -> None:
    """Write stem.png and stem.pdf; the same figure gives the same bytes."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "1577836800")  # 2020: before 1980 the font tools complain
    stem.parent.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for suffix, metadata in ((".png", {"Software": None}), (".pdf", {"CreationDate": None, "Producer": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], metadata=metadata)
        drawn[stem.with_suffix(suffix)] = buffer.getvalue()
    files.write_together(drawn)
    plt.close(figure)
