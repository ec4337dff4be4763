"""The figure of a diagnosis: sizes of state, adjoint and tangent over time, their rates, the limits of the dtype."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np

from metagrad.diagnosis.growth import Rate, Sizes
from metagrad.xp import float_info

KINDS = ("png", "pdf", "svg")
_LOOKS = {"state": ("0.0", "-", 1.6), "adjoint": ("0.3", "--", 1.4), "tangent": ("0.6", "-", 2.2)}
_LOG10_2 = float(np.log10(2.0))


class Drawn(NamedTuple):
    """What is drawn: sizes and rates of state, adjoint and tangent, the dtype, a title and a caption."""

    sizes: Sizes
    rates: dict[str, Rate]
    dtype: str
    title: str
    caption: str


def image(drawn: Drawn, kind: str) -> bytes:
    """Return the figure as the bytes of an image file of one of `KINDS`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    seen = [_line(axes, name, getattr(drawn.sizes, name), drawn.rates[name]) for name in _LOOKS]
    _limits(axes, drawn.dtype, np.concatenate([*seen, np.zeros(1)]))
    many = drawn.sizes.state.shape[1] > 1
    axes.set_xlabel("step t")
    axes.set_ylabel("log10 of the largest entry" + (": median, least and most of the tasks" if many else ""))
    axes.set_xlim(0, len(drawn.sizes.state) - 1)
    axes.legend(loc="best", fontsize="small", frameon=False)
    axes.set_title(drawn.title, fontsize="medium")
    figure.supxlabel(drawn.caption, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160)
    return buffer.getvalue()


def _line(axes: Any, name: str, logs: Any, rate: Rate) -> Any:
    """Draw the median over tasks, thin lines around the tasks, and the median rate where it was fitted; return it."""
    known = np.isfinite(logs).any(axis=1)
    if not known.any():
        return np.zeros(0)
    times, logs = np.flatnonzero(known), np.where(np.isfinite(logs), logs, np.nan)[known]
    middle, (shade, style, width) = np.nanmedian(logs, axis=1), _LOOKS[name]
    slope = float(np.nanmedian(rate.value)) if np.isfinite(rate.value).any() else np.nan
    label = name if np.isnan(slope) else f"{name}, {slope:+.3g} decades a step"
    axes.plot(times, middle, style, color=shade, lw=width, label=label + (" back" if name == "adjoint" else ""))
    if logs.shape[1] > 1:
        for edge in (np.nanmin(logs, axis=1), np.nanmax(logs, axis=1)):
            axes.plot(times, edge, style, color=shade, lw=0.5)
    if np.isfinite(slope):
        backwards = name == "adjoint"
        half = times <= times[len(times) // 2] if backwards else times >= times[len(times) // 2]
        line = np.mean(middle[half]) + (-slope if backwards else slope) * (times[half] - np.mean(times[half]))
        axes.plot(times[half], line, ":", color="0.0", lw=1.2)
    return middle


def _limits(axes: Any, dtype: str, seen: Any) -> None:
    """Mark the limits of the dtype that are near what is drawn."""
    info, low, high = float_info(dtype), float(seen.min()), float(seen.max())
    room = max(2.0, 0.6 * (high - low))
    largest, smallest = info.max_exponent * _LOG10_2, info.min_exponent * _LOG10_2
    limits = [(largest, "largest"), (smallest, "smallest normal"), (np.log10(info.eps), "last place of 1 in")]
    for at, what in limits:
        if low - room < at < high + room:
            axes.axhline(at, color="0.5", lw=0.8, dashes=(1, 2))
            where: Any = ("axes fraction", "data")
            axes.annotate(f"{what} {dtype}", (0.01, at), xycoords=where, fontsize="x-small", va="bottom")
