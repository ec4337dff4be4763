"""The meta-gradient of the log objective over the step size, for horizons of four magnitudes."""

from __future__ import annotations

from matplotlib.figure import Figure

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import COLOURS, IN_CURVATURES, measured, new_figure, theory

title = "The log objective: a bounded meta-gradient"
alt = (
    "G' over the step size for four horizons: curves between plus and minus one bound, with a step at "
    "the best step size."
)


def draw(result: Result) -> Figure:
    """Draw G' and its bounds."""
    arrays = result.arrays
    figure, ax = new_figure(height=3.6)
    for index, t in enumerate(arrays["steps"]):
        theory(ax, arrays["etas"], arrays["slope"][index], index, label=f"$t = {t}$")
        measured(ax, arrays["points"], arrays["engine"][index], index)
    limit = float(arrays["limit"])
    for sign in (-1, 1):
        ax.axhline(sign * limit, color=COLOURS[5], linestyle=(0, (8, 2)), linewidth=1.0)
    ax.text(0.02, limit, r"$2L(L+\alpha)/(L-\alpha)$, limit of the bound", color="#333333", fontsize=8, va="bottom")
    ax.axvline(2 / 1.1, color="black", linewidth=0.7, linestyle=":")
    ax.text(2 / 1.1 - 0.03, -limit * 0.95, r"$2/(\alpha+L)$", fontsize=8, ha="right")
    ax.set(
        xlabel=IN_CURVATURES,
        ylabel=r"meta-gradient $G'(\eta)$ (units of $L$)",
        ylim=(-1.2 * limit, 1.25 * limit),
    )
    ax.legend(loc="center", bbox_to_anchor=(0.3, 0.68), title="lines: theory; points: engine")
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    told = result.told
    return (
        f"G is (1/t) log f(w_t); alpha and L are the smallest and the largest curvature. Over all step sizes |G'| is "
        f"at most {told('largest', '.4g')} at the longest horizon, {told('growth', '.3f')} times that at the one "
        f"before; the proved bound tends to {float(result.arrays['limit']):.4g}. F' of f(w_t) spans "
        f"{told('plain', '.0f')} orders of magnitude there."
    )


def details(result: Result) -> str:
    """Say what is drawn."""
    return (
        f"A quadratic with condition number 10 (d = 20). Where curves lie on each other, their points do too. The "
        f"engine agrees with theory to {result.told('engine', '.2g')}."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    return (
        f"largest |G'| {claims.told('largest', '.4g')} at t = {claims.config['horizons'][-1]}, at most "
        f"{claims.told('below_bound', '.3f')} of its bound at all horizons, where F' spans "
        f"{claims.told('plain', '.0f')} orders of magnitude; engine off by at most {claims.told('engine', '.2g')}"
    )
