"""For which outer step sizes meta-training finds the minimiser."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, LINES, MARKERS, letter, new_figure

title = "The step size of the outer loop"
alt = (
    "Share of tasks learned over the outer scale c: a broad plateau for the log objective, none common "
    "to all starts for the naive one."
)


def draw(result: Result) -> Figure:
    """Draw the share of tasks within 5 % over log10 c, for each start and for all starts at once."""
    arrays = result.arrays
    figure, axes = new_figure(1, 2, height=3.1, sharey=True)
    for ax, (kind, name) in zip(axes, (("log", r"log objective $G$"), ("naive", r"naive objective $F$")), strict=True):
        scales, share = arrays[f"{kind}_scales"], arrays[f"{kind}_share"]
        for index, start in enumerate(arrays["starts"]):
            look = {"color": COLOURS[index + 1], "linestyle": LINES[index + 1], "marker": MARKERS[index + 1]}
            label = rf"from $\eta_0 = {start:g}$"
            ax.plot(scales, share[:, index], markersize=3, linewidth=1, label=label, **look)
        ax.plot(scales, arrays[f"{kind}_all_starts"], color="black", linewidth=2, label="from every start")
        ax.set(title=name, xlabel=r"$\log_{10} c$, outer steps $c/\sqrt{k}$", ylim=(-0.04, 1.04))
    axes[0].set_ylabel(r"share of tasks within 5 % of $\eta^*$")
    letter(axes)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"Meta-step k has the outer step size c/sqrt(k); eta* is the best step size, G = (1/t) log F. On the log "
        f"objective one scale c serves {told('log_share', '.0%')} of the tasks from all starts, and most of them over "
        f"{told('log_decades', '.1f')} decades of c; on the naive objective no c serves more than "
        f"{told('naive_share', '.0%')}."
    )


def details(result: Result) -> str:
    """Say how it was measured."""
    config, starts = result.config, ", ".join(f"{start:g}" for start in result.config["starts"])
    return (
        f"Exact gradients, {config['meta_steps']} meta-steps, {config['tasks']} tasks of the paper, starts {starts}; a "
        f"task is served where eta ends within {config['close']:.0%} of the minimiser. Most of them: the 95 % interval "
        f"of the share is above a half."
    )


def headline(claims: Claims) -> str:
    """Say how many tasks one outer step size serves."""
    told = claims.told
    return (
        f"{told('log_share', '.0%')} of the tasks, most of them over {told('log_decades', '.1f')} decades of c, "
        f"against {told('naive_share', '.0%')}"
    )
