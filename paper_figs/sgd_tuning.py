"""Risk and training time over epochs, for SGD with step sizes tuned on the training loss or on held-out samples."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from paper_figs.framework.claims import Claims
from paper_figs.framework.results import Result
from paper_figs.framework.style import letter, measured, new_figure, theory

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
        top.set(title=f"risk, $n = {'' if ratio == 1 else ratio}d$", yscale="log")
        bottom.set_title(f"training time, $n = {'' if ratio == 1 else ratio}d$")
        bottom.set(xscale="log", yscale="log", xlabel="epochs")
        bottom.set_xticks(arrays["epochs"], [str(epochs) for epochs in arrays["epochs"]])
        bottom.xaxis.set_minor_locator(NullLocator())
        top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        top.yaxis.set_minor_locator(NullLocator())
        top.yaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel(r"risk $E\|w_t - w^*\|^2$")
    axes[1, 0].set_ylabel(r"training time $\eta t$")
    letter(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def _curves(top: Axes, bottom: Axes, result: Result, at: tuple[int, str, int]) -> None:
    column, by, batch = at
    what, first = _BY[by]
    epochs, size, index = result.arrays["epochs"], result.arrays["batches"][batch], first + batch
    name = f"tuned on {what}, {'full batch' if size == 0 else f'batch {size}'}"
    risks, mean, error, time = (result.series(x, by)[column, batch] for x in ("risks", "runs", "runs_error", "time"))
    theory(top, epochs, risks.mean(axis=-1), index, label=name)
    measured(top, epochs, mean, index, (mean - 1.96 * error, mean + 1.96 * error))
    theory(bottom, epochs, time, index)


def caption(result: Result) -> str:
    """State the claim with its measured values."""
    config, told = result.config, result.told
    few, many = (f"n = {'' if ratio == 1 else f'{ratio} '}d" for ratio in (config["ratios"][0], config["ratios"][-1]))
    return (
        f"Most epochs, {few}: risk {told('train_risk', '.2f')} or more if tuned on the training "
        f"loss, at most {told('held_out_risk', '.2f')} if tuned on held-out samples (no training: 1); {many}: the "
        f"first is at most {told('many', '.2f')} times the second. Lines: exact risks; points: runs of SGD with 95 % "
        f"intervals; eta t: step size times number of steps."
    )


def details(result: Result) -> str:
    """Say how step sizes are chosen, and how training times compare."""
    config, told = result.config, result.told
    return (
        f"SGD on least squares (d = {config['d']}, noise {config['sigma']:g}), one step size for {config['tasks']} "
        f"tasks, chosen for each batch size and number of epochs from the exact expected loss on the training samples, "
        f"or on one half of them after training on the other. On held-out samples training times differ by a factor of "
        f"{told('held_out_time', '.2f')} at most, risks by one of {told('held_out_spread', '.3f')}, over the later "
        f"epochs and all batches. Exact risks are averaged over targets and batches at the inputs of the tasks; the "
        f"targets of the runs are fresh."
    )


def headline(claims: Claims) -> str:
    """Return the measured values in one sentence."""
    few, many = (f"n = {'' if ratio == 1 else f'{ratio} '}d" for ratio in (claims.config["ratios"][k] for k in (0, -1)))
    return (
        f"{few}, {claims.config['epochs'][-1]} epochs: risk at least {claims.told('train_risk', '.2f')} against at "
        f"most {claims.told('held_out_risk', '.2f')} (no training: 1); held-out: training times within a factor "
        f"{claims.told('held_out_time', '.2f')}, risks within {claims.told('held_out_spread', '.3f')}; {many}: train "
        f"over held-out at most {claims.told('many', '.2f')}; runs of SGD within {claims.told('runs', '.1f')} standard "
        f"errors of theory"
    )
