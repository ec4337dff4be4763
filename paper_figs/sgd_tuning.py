"""Risk and training time over epochs, for SGD with step sizes tuned on the training loss or on held-out samples."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from paper_figs.framework.results import Result
from paper_figs.framework.style import measured, new_figure, theory

title = "SGD: tuning on the training loss against held-out samples"
alt = (
    "Risk and training time over the number of epochs, for few and for many samples. Tuned on held-out samples, both "
    "become flat and equal for all batch sizes; tuned on the training loss, training time grows with the epochs, and "
    "with few samples the risk grows far above that of no training."
)
_BY = {"train": ("training loss", 0), "validation": ("held-out samples", 3)}  # and the first of three looks


def draw(result: Result) -> Figure:
    """Draw a column for each number of samples: the risk above, eta times the number of steps below."""
    arrays = result.arrays
    figure, axes = new_figure(2, len(arrays["ratios"]), height=5.2, sharex=True, sharey="row")
    for column, ratio in enumerate(arrays["ratios"]):
        top, bottom = axes[:, column]
        for by in _BY:
            for batch in range(len(arrays["batches"])):
                _curves(top, bottom, result, (column, by, batch))
        top.axhline(1.0, color="#444444", linewidth=0.8, linestyle=":")
        top.text(arrays["epochs"][0], 1.0, "no training", fontsize=7, va="bottom", color="#444444")
        top.set(title=f"$n = {'' if ratio == 1 else ratio}d$", yscale="log")
        bottom.set(xscale="log", yscale="log", xlabel="epochs")
        bottom.set_xticks(arrays["epochs"], [str(epochs) for epochs in arrays["epochs"]])
        bottom.xaxis.set_minor_locator(NullLocator())
        top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        top.yaxis.set_minor_locator(NullLocator())
        top.yaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel(r"risk $E\|w_T - w^*\|^2$")
    axes[1, 0].set_ylabel(r"training time $\eta T$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _curves(top: Axes, bottom: Axes, result: Result, at: tuple[int, str, int]) -> None:
    column, by, batch = at
    what, first = _BY[by]
    epochs, size, index = result.arrays["epochs"], result.arrays["batches"][batch], first + batch
    name = f"tuned on {what}, {'full batch' if size == 0 else f'batch {size}'}"
    risk, mean, error, time = (result.series(one, by)[column, batch] for one in ("risk", "runs", "runs_error", "time"))
    theory(top, epochs, risk, index, label=name)
    measured(top, epochs, mean, index, (mean - 1.96 * error, mean + 1.96 * error))
    theory(bottom, epochs, time, index)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config = result.config
    return (
        f"SGD on least squares (d = {config['d']}, noise {config['sigma']:g}), one step size for {config['tasks']} "
        f"tasks, chosen for each batch size and number of epochs from the exact expected loss on the training samples, "
        f"or on one half of them after training on the other. At the most epochs, with n = d samples: risk "
        f"{result.measured('train_risk'):.3g} or more if tuned on the training loss, at most "
        f"{result.measured('held_out_risk'):.3g} if tuned on held-out samples, where training time varies "
        f"by a factor of {result.measured('held_out_time'):.3g} from 16 epochs on. Lines: exact moments; "
        f"points: runs of SGD with 95 % intervals."
    )
