"""The figure of a diagnosis: sizes of state, adjoint and tangent over time, their rates, the limits of the dtype."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np

from metagrad.diagnosis.growth import SINCE, Sizes, rate
from metagrad.xp import float_info

KINDS = ("png", "pdf", "svg")
_LOOKS = {"state": ("0.0", "-", 1.6), "adjoint": ("0.3", "--", 1.4), "tangent": ("0.6", "-", 2.2)}
_LOG10_2 = float(np.log10(2.0))


class Drawn(NamedTuple):
    """What is drawn: the sizes of state, adjoint and tangent, the dtype, a title, a caption, whether there is chaos."""

    sizes: Sizes
    dtype: str
    title: str
    caption: str
    chaotic: bool


def image(drawn: Drawn, kind: str) -> bytes:
    """Return the figure as the bytes of an image file of one of `KINDS`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Any = figure.subplots()
    seen = [_line(axes, name, getattr(drawn.sizes, name)) for name in _LOOKS]
    _limits(axes, drawn, np.concatenate([*seen, np.zeros(1)]))
    axes.set_xlabel("step t")
    axes.set_ylabel("log10 of the largest entry")
    axes.set_xlim(0, len(drawn.sizes.state) - 1)
    axes.legend(loc="best", fontsize="small", frameon=False)
    axes.set_title(drawn.title, fontsize="medium")
    figure.supxlabel(drawn.caption, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=160)
    return buffer.getvalue()


def _line(axes: Any, name: str, logs: Any) -> Any:
    """Draw the median over tasks, thin lines around all tasks, and the line fitted to the median; return the median."""
    known = np.isfinite(logs).any(axis=1)
    if not known.any():
        return np.zeros(0)
    times, logs = np.flatnonzero(known), np.where(np.isfinite(logs), logs, np.nan)[known]
    middle, (shade, style, width) = np.nanmedian(logs, axis=1), _LOOKS[name]
    backwards, since = name == "adjoint", SINCE[name]
    slope = float(rate(middle[::-1, None] if backwards else middle[:, None], since).value[0])
    label = name if np.isnan(slope) else f"{name}, {slope:+.3g} decades a step"
    axes.plot(times, middle, style, color=shade, lw=width, label=label + (" back" if backwards else ""))
    if logs.shape[1] > 1:
        for edge in (np.nanmin(logs, axis=1), np.nanmax(logs, axis=1)):
            axes.plot(times, edge, style, color=shade, lw=0.5)
    if np.isfinite(slope):
        cut = int(since * len(times))
        part = slice(0, len(times) - cut) if backwards else slice(cut, None)
        line = np.mean(middle[part]) + (-slope if backwards else slope) * (times[part] - np.mean(times[part]))
        axes.plot(times[part], line, ":", color="0.0", lw=1.2)
    return middle


def _limits(axes: Any, drawn: Drawn, seen: Any) -> None:
    """Mark the limits of the dtype that are near what is drawn, and where a tangent has taken all digits."""
    info, low, high = float_info(drawn.dtype), float(seen.min()), float(seen.max())
    room = max(2.0, 0.6 * (high - low))
    lost = float(np.median(drawn.sizes.tangent[0])) - np.log10(info.eps)
    limits = [
        (info.max_exponent * _LOG10_2, f"largest {drawn.dtype}"),
        (info.min_exponent * _LOG10_2, f"smallest normal {drawn.dtype}"),
    ]
    if drawn.chaotic:
        limits.append((lost, f"a tangent that has come here has taken all digits of {drawn.dtype}"))
    for at, what in limits:
        if low - room < at < high + room:
            axes.axhline(at, color="0.5", lw=0.8, dashes=(1, 2))
            where: Any = ("axes fraction", "data")
            axes.annotate(what, (0.99, at), xycoords=where, fontsize="x-small", va="bottom", ha="right")
