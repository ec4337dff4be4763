"""The figure of a diagnosis: sizes of state, adjoint and tangent over time, their rates, the limits of the dtype."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metagrad import files
from metagrad.errors import bad_value
from metagrad.xp import float_info

if TYPE_CHECKING:
    from metagrad.diagnosis.report import Diagnosis

_KINDS = (".png", ".pdf", ".svg")
_LOOKS = {"state": ("0.0", "-"), "adjoint": ("0.35", "--"), "tangent": ("0.6", "-")}
_LOG10_2 = float(np.log10(2.0))


def draw(d: Diagnosis, path: Path) -> None:
    """Write the figure to `path` in one step; ValueError for a suffix that is none of .png, .pdf and .svg."""
    if path.suffix not in _KINDS:
        bad_value("figure", "path", path, f"a file with one of the suffixes {', '.join(_KINDS)}")
    files.write(path, image(d, path.suffix[1:]))


def image(d: Diagnosis, kind: str = "png") -> bytes:
    """Return the figure as the bytes of an image file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    lines = {name: _drawn(axes, d, name) for name in _LOOKS}
    _limits(axes, d, lines)
    axes.set_xlabel("step t")
    axes.set_ylabel("log10 of the largest entry (median task)")
    axes.set_xlim(0, d.steps)
    axes.legend(loc="best", fontsize="small", frameon=False)
    axes.set_title(d.about, fontsize="medium")
    figure.supxlabel(_caption(d), fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160)
    return buffer.getvalue()


def _drawn(axes: Any, d: Diagnosis, name: str) -> Any:
    """Draw the median over tasks, the range of the tasks, and the line of the median rate where it was fitted."""
    logs = np.where(np.isfinite(logs := getattr(d.sizes, name)), logs, np.nan)
    times, (shade, style) = np.arange(len(logs)), _LOOKS[name]
    known = ~np.isnan(logs).all(axis=1)
    if not known.any():
        return np.zeros(0)
    times, logs = times[known], logs[known]
    middle = np.nanmedian(logs, axis=1)
    slope = float(np.nanmedian(getattr(d, name).value)) if np.isfinite(getattr(d, name).value).any() else np.nan
    label = f"{name}, {slope:+.3g} decades a step" + (" back" if name == "adjoint" else "")
    axes.plot(times, middle, style, color=shade, lw=1.6, label=label)
    if logs.shape[1] > 1:
        axes.fill_between(times, np.nanmin(logs, axis=1), np.nanmax(logs, axis=1), color=shade, alpha=0.12, lw=0)
    if np.isfinite(slope):
        half = times <= times[len(times) // 2] if name == "adjoint" else times >= times[len(times) // 2]
        way = -slope if name == "adjoint" else slope
        line = np.mean(middle[half]) + way * (times[half] - np.mean(times[half]))
        axes.plot(times[half], line, ":", color="0.0", lw=1.0)
    return middle


def _limits(axes: Any, d: Diagnosis, lines: dict[str, Any]) -> None:
    """Mark the limits of the dtype that are near what is drawn."""
    info, seen = float_info(d.dtype), np.concatenate([*lines.values(), np.zeros(1)])
    low, high = float(seen.min()), float(seen.max())
    room = max(2.0, 0.6 * (high - low))
    limits = [(info.max_exponent * _LOG10_2, "largest"), (info.min_exponent * _LOG10_2, "smallest normal")]
    for at, what in [*limits, (np.log10(info.eps), "unit in the last place of")]:
        if low - room < at < high + room:
            axes.axhline(at, color="0.5", lw=0.8, dashes=(1, 2))
            axes.annotate(
                f"{what} {d.dtype}", (0.01, at), xycoords=("axes fraction", "data"), fontsize="x-small", va="bottom"
            )


def _caption(d: Diagnosis) -> str:
    names = sorted(set(d.regimes), key=d.regimes.count, reverse=True)
    reach = (
        ""
        if np.isnan(d.reach)
        else f", predicts changes of phi up to {d.reach:.0e}"
        if d.reach
        else ", predicts nothing"
    )
    return f"{' and '.join(names)}; meta-gradient {d.trend}{reach}. Dotted: fitted rates."
