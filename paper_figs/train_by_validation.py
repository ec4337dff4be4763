"""The paper's experiment: errors along the trajectory of the step size that each way of tuning chooses."""

from __future__ import annotations

from matplotlib.figure import Figure
from scipy import stats

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import STEP, letter, measured, new_figure, theory

title = "Train-by-train overfits, train-by-validation does not"
alt = (
    "Root mean square error over the iterations, a column a number of samples, fresh samples above and the samples "
    "trained on below: with few samples the step size tuned on the training loss ends above the line of no training, "
    "the one tuned on held-out samples below it; with many samples both coincide."
)
_BY = {"train": ("tuned on training loss", 0), "validation": ("tuned on held-out half", 1)}


def draw(result: Result) -> Figure:
    """Draw a column a number of samples: test error above, training error below."""
    arrays, d = result.arrays, result.config["d"]
    steps, half = range(result.config["steps"] + 1), stats.t.ppf(0.975, result.config["tests"] - 1)
    figure, axes = new_figure(2, len(arrays["samples"]), height=4.6, sharex=True, sharey="row")
    for column, n in enumerate(arrays["samples"]):
        for row, kind in enumerate(("fresh", "seen")):
            ax = axes[row, column]
            start = result.series("rmse", kind, "train")[column, 0]
            ax.axhline(start, color="#777777", linewidth=0.9, linestyle=":", label="$w = 0$")
            for by, (name, place) in _BY.items():
                limit, mean = (result.series(key, kind, by)[column] for key in ("limit_rmse", "rmse"))
                width = half * result.series("rmse_error", kind, by)[column]
                theory(ax, steps, limit, 2 * place, label=f"{name}, limit")
                at = slice(4 * place, None, 8)  # points that lie on each other would hide one another
                measured(ax, steps[at], mean[at], 2 * place, (mean[at] - width[at], mean[at] + width[at]), label=name)
        axes[0, column].set_title(f"fresh, $n/d = {n / d:g}$")
        by_train, by_validation = (result.series("chosen", by)[column] for by in _BY)
        axes[1, column].set_title(f"seen, $n/d = {n / d:g}$")
        text = rf"$\eta = {by_train:.2g}$ and ${by_validation:.2g}$"
        axes[1, column].text(0.97, 0.4, text, transform=axes[1, column].transAxes, ha="right", fontsize=8)
    letter(axes)
    axes[0, 0].set_ylabel("RMSE, fresh samples")
    axes[1, 0].set_ylabel("RMSE, training samples")
    axes[1, 0].set_ylim(bottom=0)
    figure.supxlabel(STEP, fontsize=9)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    parts = []
    for n in config["samples"]:
        pair = " and ".join(result.told(f"rmse_{by}_{n}", ".3f") for by in _BY)
        nothing = f" (w = 0: {result.told(f'nothing_{n}', '.3f')})" if n <= config["d"] else ""
        parts.append(f"n/d = {n / config['d']:g}: {pair}{nothing}")
    return (
        f"Step sizes eta tuned on the training loss or a held-out half; lines: the limit of large d. Test RMSE after "
        f"{config['steps']} steps, by train and by validation: {'; '.join(parts)}. 95 % intervals over tasks."
    )


def details(result: Result) -> str:
    """Say how the step sizes were chosen."""
    config = result.config
    return (
        f"Least squares, d = {config['d']}, {config['tests']} fresh tasks, sigma = {config['sigma']:g}; the step size "
        f"from a grid of {config['step_sizes']}, by the mean over {config['tasks']} tasks of the training loss, or of "
        f"the loss on one half after training on the other. The limit's own choices of the step size are "
        f"{result.told('step_sizes', '.0f')} grid points away at most."
    )


def headline(claims: Claims) -> str:
    """Return the measured values for the table of claims."""
    config, parts = claims.config, []
    for n in config["samples"]:
        train, validation = (claims.told(f"rmse_{by}_{n}", ".2f") for by in _BY)
        nothing = f", w = 0: {claims.told(f'nothing_{n}', '.2f')}" if n <= config["d"] else ""
        parts.append(f"{train} and {validation} at n = {n / config['d']:g} d{nothing}")
    return f"mean test RMSE (d = {config['d']}) tuned by train and by validation: {'; '.join(parts)}"
