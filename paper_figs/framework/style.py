"""One style for all figures: readable in grey and by colour-blind eyes, the same bytes every time.

All figures share one notation, that of metagrad.theory: eta is the step size; t is the horizon, the number of steps of
a run, and tau is a step on the way there, both in steps; k is the meta-step; alpha and L are the smallest and the
largest curvature; F is the plain meta-objective and G the log objective, F' and G' are their derivatives by the step
size; n/d is the number of samples per input; sigma is the noise. `HORIZON` and its like are the labels of axes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import string
from collections.abc import Iterator, Mapping, Sequence
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
HORIZON, STEP, META_STEP = r"horizon $t$ (steps)", r"step $\tau$", r"meta-step $k$"
STEP_SIZE, IN_CURVATURES = r"step size $\eta$", r"step size $\eta$ (units of $1/L$)"
SAMPLES = r"samples per input $n/d$"
WIDTH = 7.2  # inches: the text width of a page
NARROWEST, WIDEST = 5.0, 20.0  # inches: below, the panels of some figures would vanish

# what a file says about itself, in the words of its format, and what it must not say: when it was made, and by what
_FIELDS = {
    "png": {"title": "Title", "caption": "Description", "source": "Source"},
    "pdf": {"title": "Title", "caption": "Subject", "source": "Keywords"},
    "svg": {"title": "Title", "caption": "Description", "source": "Source"},
}
_UNSAID = {"png": ("Software",), "pdf": ("CreationDate", "Producer"), "svg": ("Date",)}
FORMATS = tuple(_FIELDS)
_SAID = ("title", "caption", "details", "alt")  # what is no provenance

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
def styled(width: float = WIDTH) -> Iterator[None]:
    """Draw in the style of the project; `new_figure` makes figures of this width, in inches, from 5 to 20.

    ValueError where the width is outside of that range, or no number.
    """
    if not isinstance(width, (int, float)) or not NARROWEST <= width <= WIDEST:
        raise ValueError(f"styled: width is {width!r}; expected inches, from {NARROWEST:g} to {WIDEST:g}")
    with mpl.rc_context({**_RC, "figure.figsize": (width, width / 2)}):
        yield


def new_figure(rows: int = 1, columns: int = 1, height: float = 3.2, **options: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes, as wide as `styled` says: by default the text width."""
    size = mpl.rcParams["figure.figsize"][0], height
    return plt.subplots(rows, columns, figsize=size, layout="constrained", **options)


def letter(axes: Any) -> None:
    """Put (a), (b) and so on before the titles of the panels, in their order; panels that are off have none."""
    shown = [ax for ax in np.ravel(axes) if ax.axison]
    for name, ax in zip(string.ascii_lowercase, shown, strict=False):
        ax.set_title(rf"$\mathbf{{({name})}}$ {ax.get_title(loc='left')}".rstrip(), loc="left")


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


def cut(axes: Axes, x: Any, interval: Any) -> bool:
    """Mark intervals (low, high) that go on beyond the axis with arrows at its ends; return whether there are any.

    Call it when the limits of the axis are set.
    """
    low, high = (np.broadcast_to(end, np.shape(x)) for end in interval)
    bottom, top = sorted(axes.get_ylim())
    across = axes.get_xaxis_transform()
    look = {
        "color": COLOURS[0],
        "linestyle": "none",
        "markersize": 7,
        "markeredgewidth": 0,
        "clip_on": False,
        "zorder": 4,
    }
    for place, marker, beyond in ((0.0, r"$\downarrow$", low < bottom), (1.0, r"$\uparrow$", high > top)):
        if beyond.any():
            axes.plot(np.asarray(x)[beyond], np.full(beyond.sum(), place), marker=marker, transform=across, **look)
    return bool((low < bottom).any() or (high > top).any())


def save(
    figure: Figure, stem: Path, *, formats: Sequence[str] = ("png", "pdf"), about: Mapping[str, str] | None = None
) -> tuple[Path, ...]:
    """Write the figure at `stem` in each format, and what it is about beside it, as JSON; return the paths in order.

    `formats`: of `FORMATS`; a format twice is written once. `about`: the title, the caption and where the figure is
    from, as text by name: `results.about`. It is in the metadata of each file too. The same figure about the same
    gives the same bytes. All files are replaced together, or none. ValueError for a format that is not known, or
    none at all.
    """
    wanted = tuple(dict.fromkeys(formats))
    if unknown := [one for one in wanted if one not in FORMATS]:
        raise ValueError(f"save: formats has {unknown[0]!r}; expected some of {', '.join(FORMATS)}")
    if not wanted:
        raise ValueError(f"save: formats is empty; expected at least one of {', '.join(FORMATS)}")
    os.environ.setdefault("SOURCE_DATE_EPOCH", "1577836800")  # 2020: before 1980 the font tools complain
    stem.parent.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for one in wanted:
        buffer = io.BytesIO()
        with mpl.rc_context(_RC):
            figure.savefig(buffer, format=one, metadata=_metadata(one, about or {}))
        drawn[_beside(stem, one)] = buffer.getvalue()
    if about:
        drawn[_beside(stem, "json")] = json.dumps(dict(about), indent=1, ensure_ascii=False).encode() + b"\n"
    files.write_together(drawn)
    plt.close(figure)
    return tuple(drawn)


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{suffix}")


def _metadata(form: str, about: Mapping[str, str]) -> dict[str, Any]:
    """Return what a file of this format says about itself: its fields have other names in each."""
    source = "; ".join(f"{name}: {text}" for name, text in about.items() if name not in _SAID)
    told = {"title": about.get("title", ""), "caption": about.get("caption", ""), "source": source}
    fields = _FIELDS[form]
    said = {fields[name]: text for name, text in told.items() if text}
    return {**dict.fromkeys(_UNSAID[form]), **said}
